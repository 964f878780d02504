"""The headers of a delivery, after Standard Webhooks.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook


class Signer:
    """Signs with every secret it has: while one is rotated, receivers may know either."""

    def __init__(self, secrets: Sequence[str], headers: Mapping[str, str]) -> None:
        """``secrets``: ``whsec_…``; none at all leaves deliveries unsigned. ``headers`` are
        static ones that go with each."""
        self._webhooks = [Webhook(secret) for secret in secrets]
        self._static = dict(headers)

    def headers(self, webhook_id: str, payload: str, now: int) -> dict[str, str]:
        """Return all headers for ``payload``, sent at ``now`` (UTC milliseconds)."""
        seconds = now // 1000
        at = datetime.fromtimestamp(seconds, UTC)
        signatures = [webhook.sign(webhook_id, at, payload) for webhook in self._webhooks]
        headers = {
            **self._static,
            "Content-Type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(seconds),
        }
        if signatures:
            headers["webhook-signature"] = " ".join(signatures)
        return headers
