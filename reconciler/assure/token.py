"""Fetches and caches the access token: OAuth 2 client credentials (RFC 6749, 4.4)."""

import asyncio
import math
import re
from base64 import b64encode

from yarl import URL

from reconciler.assure.endpoint import Endpoint
from reconciler.assure.errors import (
    Throttled,
    TokenRefused,
    TokenUnavailable,
)
from reconciler.outbound.body import BodyReader
from reconciler.outbound.errors import TransportError, UnreadableAnswer
from reconciler.outbound.transport import Response, Transport
from reconciler.runtime.clock import Clock

DEFAULT_LIFETIME = 300.0
"""Seconds, where ``expires_in`` is missing or absurd."""
LONGEST_LIFETIME = 366 * 86400.0
REFRESH_AT = 0.8
"""Part of the lifetime after which a new token is fetched."""

USABLE_UNTIL = 0.95
"""Part of the lifetime for which a token is used when no new one can be had."""

REFRESH_AGAIN = 10.0
"""Seconds until a refresh that failed is tried again, while the token is still good."""

_MEMBERS = frozenset({"access_token", "expires_in", "error"})
_ERRORS = {
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
}
"""RFC 6749, 5.2."""

_TOKEN = re.compile(r"[\x21-\x7e]+")
_SECONDS = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")


class TokenCache:
    """Keeps one token for all calls. However many need a new one, one request is made for it.

    A failure is not cached: it goes to all callers that wait for that request, and the next one
    tries again.
    """

    def __init__(self, endpoint: Endpoint, transport: Transport, clock: Clock) -> None:
        self._endpoint = endpoint
        self._transport = transport
        self._clock = clock
        self._token: str | None = None
        self._stale_at = self._dead_at = -math.inf
        self._refresh: asyncio.Task[str] | None = None
        self._waiting = 0

    async def get(self) -> str:
        """Return a token that is not due for refresh.

        Raises TokenRefused, TokenUnavailable or Throttled.
        """
        now = self._clock.monotonic()
        if self._token is not None and now < self._stale_at:
            return self._token
        spare = self._token if now < self._dead_at else None
        try:
            return await self._refreshed()
        except (TokenUnavailable, Throttled):
            if spare is None or self._token != spare:
                raise
            # The present one is good for a while: a short outage of the endpoint stops nothing.
            self._stale_at = min(now + REFRESH_AGAIN, self._dead_at)
            return spare

    async def force(self, stale: str) -> str:
        """Return another token than ``stale``, which was answered 401.

        Fetches only if nobody has done so since ``stale`` was handed out.
        """
        if self._token == stale:
            self._token = None
        return await self.get()

    async def _refreshed(self) -> str:
        task = self._refresh
        if task is None:
            task = self._refresh = asyncio.create_task(self._fetch(), name="assure-token")
            task.add_done_callback(self._ended)
        self._waiting += 1
        try:
            # Not awaited directly: a waiter that is cancelled must not take the task with it.
            await asyncio.wait({task})
        finally:
            self._waiting -= 1
            if self._waiting == 0 and not task.done():
                self._refresh = None
                task.cancel()
        return task.result()

    def _ended(self, task: asyncio.Task[str]) -> None:
        if self._refresh is task:
            self._refresh = None
        if not task.cancelled():
            task.exception()  # seen, even if the last waiter has just gone

    async def _fetch(self) -> str:
        begun = self._clock.monotonic()
        credentials = f"{self._endpoint.client_id}:{self._endpoint.client_secret}"
        form = {"grant_type": "client_credentials"}
        if self._endpoint.scope:
            form["scope"] = self._endpoint.scope
        failure: TokenUnavailable | None = None
        try:
            answer = await self._transport.send(
                "token",
                "POST",
                URL(self._endpoint.token_url),
                headers={"Authorization": f"Basic {b64encode(credentials.encode()).decode()}"},
                data=form,
                reader=BodyReader(_MEMBERS, optional=_MEMBERS - {"access_token"}),
                reads_refusals=True,
            )
        except (TransportError, UnreadableAnswer) as exc:
            failure = TokenUnavailable(exc.code, http_status=exc.http_status)
        if failure is not None:
            raise failure
        token, lifetime = _token_in(answer)
        self._token = token
        self._stale_at = begun + lifetime * REFRESH_AT
        self._dead_at = begun + lifetime * USABLE_UNTIL
        return token


def _token_in(answer: Response) -> tuple[str, float]:
    """Return the token and its lifetime in seconds, or raise the error that the answer means."""
    status = answer.http_status
    if status == 429:
        raise Throttled("http_429", http_status=status, retry_after=answer.retry_after)
    if status == 407:
        raise TokenUnavailable("proxy", http_status=status)
    if 400 <= status < 500:
        raise TokenRefused(f"http_{status}", http_status=status, word=_error_in(answer))
    if not answer.succeeded:
        code = "redirect" if 300 <= status < 400 else f"http_{status}"
        raise TokenUnavailable(code, http_status=status, retry_after=answer.retry_after)
    values = answer.members.values if answer.members else {}
    token = values.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise TokenUnavailable("no_token", http_status=status)
    return token, _lifetime(values.get("expires_in"))


def _error_in(answer: Response) -> str | None:
    """Return OAuth's error word in a refusal."""
    error = answer.members.values.get("error") if answer.members else None
    if error is None:
        return None
    return error if isinstance(error, str) and error in _ERRORS else "other"


def _lifetime(expires_in: object) -> float:
    """Return the seconds in ``expires_in``; some servers write the number as a text."""
    if isinstance(expires_in, str) and _SECONDS.fullmatch(expires_in.strip()):
        expires_in = float(expires_in)
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float):
        return DEFAULT_LIFETIME
    return float(expires_in) if 0 < expires_in <= LONGEST_LIFETIME else DEFAULT_LIFETIME
