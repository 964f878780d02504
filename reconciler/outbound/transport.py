"""Makes one HTTP exchange, bounded in time and size.

aiohttp's exceptions never leave this file, because they carry URLs and headers.

The reasons: docs/decisions/031.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
from aiohttp import (
    ClientHandlerType,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
)
from structlog.typing import FilteringBoundLogger
from yarl import URL

from reconciler.outbound.body import BodyReader
from reconciler.outbound.errors import CallError
from reconciler.outbound.retry_after import retry_after
from reconciler.outbound.status_line import status_read
from reconciler.outbound.time_limit import TimeLimit
from reconciler.outbound.translate import translated
from reconciler.runtime.clock import Clock
from reconciler.runtime.tolerant_json import Members

# Time is bounded by TimeLimit instead: aiohttp rounds limits over 5 s up to whole seconds.
_NO_TIMEOUT = ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


@dataclass(slots=True)
class Response:
    """An answer, of any status."""

    http_status: int
    members: Members | None = field(default=None, repr=False)
    """The members that ``reader`` found in the body; None where it has read none."""
    retry_after: float | None = None
    """Seconds that an answer other than 2xx asked us to wait."""
    duration: int = 0
    """Milliseconds that the whole exchange took."""

    @property
    def succeeded(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.http_status < 300

    @property
    def is_refusal(self) -> bool:
        """Whether the status is 4xx."""
        return 400 <= self.http_status < 500


class Transport:
    """Makes single HTTP requests: no redirects, no retries, no cookies of its own."""

    def __init__(
        self,
        session: ClientSession,
        log: FilteringBoundLogger,
        *,
        clock: Clock,
        timeout: float,
        proxy: str = "",
    ) -> None:
        self._session = session
        self._log = log
        self._limit = TimeLimit(timeout)
        self._proxy = proxy or None
        self._clock = clock

    async def send(
        self,
        verb: str | None,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str],
        data: Mapping[str, str] | bytes | None = None,
        reader: BodyReader | None = None,
        reads_refusals: bool = False,
    ) -> Response:
        """Make the request within the timeout and return the answer.

        ``verb`` is for the log; None where the caller logs each call itself.
        ``reader`` reads the body of a 2xx; None: it is not read.
        ``reads_refusals``: ``reader`` reads the body of a 4xx too, as far as it can.

        Raises TransportError where no whole answer came, UnreadableAnswer where it is not HTTP,
        cannot be decompressed, is too large or is no JSON object. An answer whose
        body is not needed counts once its status line was read, whatever follows.
        """
        begun = self._clock.monotonic()
        answer: Response | None = None
        sending = _SentOnce()
        outcome: Response | CallError
        try:
            with self._limit.call():
                response = await self._session.request(
                    method,
                    url,
                    headers=headers,
                    data=data,
                    allow_redirects=False,
                    proxy=self._proxy,
                    timeout=_NO_TIMEOUT,
                    middlewares=(sending,),
                )
                try:
                    outcome = answer = Response(response.status)
                    if not answer.succeeded:
                        wait = response.headers.get("Retry-After")
                        answer.retry_after = retry_after(wait, self._clock.now() / 1000)
                    if reader and (answer.succeeded or (reads_refusals and answer.is_refusal)):
                        answer.members = await reader.read(response)
                finally:
                    if not response.closed:  # its end has come, and the connection is free already
                        response.release()  # with an unread body, the connection goes too
        except CallError as exc:
            outcome = exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            outcome = translated(exc, answer.http_status if answer else None)
        if isinstance(outcome, CallError):
            answer = answer or _of_status_line(status_read(sending.request))
            if answer is not None and (reader is None or not answer.succeeded):
                outcome = answer
        outcome.duration = round((self._clock.monotonic() - begun) * 1000)
        if verb is not None:
            self._log.debug(
                "outbound_call",
                verb=verb,
                http_status=outcome.http_status,
                error=outcome.code if isinstance(outcome, CallError) else None,
                duration_ms=outcome.duration,
            )
        if isinstance(outcome, CallError):
            # Raised here and not where it was caught, so that aiohttp's exception, which holds
            # the request with its headers, is not even the context of this one.
            raise outcome
        return outcome


class _SentOnce:
    """The middleware of one call: aiohttp must not repeat it by itself after a lost connection.

    The second request would leave without a unit of the budget. aiohttp repeats only after
    errors that it knows; this one it does not.
    """

    def __init__(self) -> None:
        self.request: ClientRequest | None = None

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send ``request``."""
        self.request = request
        try:
            return await handler(request)
        except (aiohttp.ClientError, OSError) as exc:
            error = translated(exc, None)
        raise error


def _of_status_line(status: int | None) -> Response | None:
    return None if status is None else Response(status)
