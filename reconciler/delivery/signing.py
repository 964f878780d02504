"""Makes the headers of a delivery, after Standard Webhooks.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from multidict import CIMultiDict
from standardwebhooks import Webhook


class Signer:
    """Signs with every secret it has: while one is rotated, receivers may know either."""

    def __init__(self, secrets: Sequence[str], headers: Mapping[str, str]) -> None:
        """``secrets``: ``whsec_…``; none at all leaves deliveries unsigned. ``headers`` are
        static ones that go with each."""
        self._signs = [Webhook(secret).sign for secret in secrets]
        self._static = CIMultiDict(headers)
        self._static["Content-Type"] = "application/json"

    def headers(self, webhook_id: str, payload: str, now: int) -> CIMultiDict[str]:
        """Return all headers for ``payload``, sent at ``now`` (UTC milliseconds)."""
        at, seconds = _second(now // 1000)
        headers = self._static.copy()
        headers["webhook-id"] = webhook_id
        headers["webhook-timestamp"] = seconds
        if self._signs:
            signatures = [sign(webhook_id, at, payload) for sign in self._signs]
            headers["webhook-signature"] = " ".join(signatures)
        return headers


@lru_cache(maxsize=4)
def _second(seconds: int) -> tuple[datetime, str]:
    """Return a time as the library and as the header take it; many deliveries have the same."""
    return datetime.fromtimestamp(seconds, UTC), str(seconds)
