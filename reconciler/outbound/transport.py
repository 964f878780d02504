"""Makes one HTTP exchange, bounded in time and size.

aiohttp's exceptions never leave this file, because they carry URLs and headers.
"""

import errno
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
from aiohttp.http_exceptions import ContentEncodingError
from structlog.typing import FilteringBoundLogger
from yarl import URL

from reconciler.outbound.errors import CallError, TransportError, UnreadableAnswer
from reconciler.outbound.retry_after import retry_after
from reconciler.outbound.time_limit import TimeLimit
from reconciler.runtime.clock import Clock

MAX_ANSWER = 1024 * 1024
"""Bytes of an answer that are read, after decompression."""

_CHUNK = 64 * 1024
# Time is bounded by TimeLimit instead: aiohttp rounds limits over 5 s up to whole seconds.
_NO_TIMEOUT = ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
_ERRNO_WORDS = {errno.ECONNREFUSED: "connection_refused", errno.ETIMEDOUT: "timeout"}


@dataclass(slots=True)
class Response:
    """An answer, of any status."""

    http_status: int
    body: bytes = field(default=b"", repr=False)
    """Empty unless the status is 2xx and the body was asked for."""
    retry_after: float | None = None
    """Seconds that an answer other than 2xx asked us to wait."""
    duration: int = 0
    """Milliseconds that the whole exchange took."""

    @property
    def succeeded(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.http_status < 300


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
        with_body: bool = True,
    ) -> Response:
        """Make the request within the timeout and return the answer.

        ``verb`` is for the log; None where the caller logs each call itself.

        Raises TransportError where no whole answer came, UnreadableAnswer where it is not HTTP,
        cannot be decompressed or is larger than ``MAX_ANSWER``.
        """
        begun = self._clock.monotonic()
        status: int | None = None
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
                    middlewares=() if method == "POST" else (_send_once,),
                )
                try:
                    status = response.status
                    outcome = Response(status)
                    if not outcome.succeeded:
                        wait = response.headers.get("Retry-After")
                        outcome.retry_after = retry_after(wait, self._clock.now() / 1000)
                    elif with_body:
                        outcome.body = await _read(response)
                finally:
                    if not response.closed:  # its end has come, and the connection is free already
                        response.release()  # with an unread body, the connection goes too
        except CallError as exc:
            outcome = exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            outcome = _translated(exc, status)
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


async def _send_once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from repeating a GET by itself after a lost connection (a POST it does not).

    The second request would leave without a unit of the budget. aiohttp repeats only after
    errors that it knows; this one it does not.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientError, OSError) as exc:
        error = _translated(exc, None)
    raise error


async def _read(response: ClientResponse) -> bytes:
    body = bytearray()
    # Small chunks: the size of a read is also how much aiohttp decompresses ahead.
    while chunk := await response.content.read(_CHUNK):
        body += chunk
        if len(body) > MAX_ANSWER:
            raise UnreadableAnswer("too_large", http_status=response.status)
    return bytes(body)


def _translated(exc: aiohttp.ClientError | OSError | ValueError, status: int | None) -> CallError:
    match exc:
        case TimeoutError():
            return TransportError("timeout", http_status=status)
        case aiohttp.ClientHttpProxyError() | aiohttp.ClientProxyConnectionError():
            return TransportError("proxy")
        case aiohttp.ClientResponseError():
            return UnreadableAnswer("not_http", http_status=status)
        case aiohttp.ClientPayloadError(__cause__=ContentEncodingError()):
            return UnreadableAnswer("bad_encoding", http_status=status)
        case aiohttp.ClientConnectorDNSError():
            return TransportError("dns")
        case aiohttp.ClientSSLError():
            return TransportError("tls")
        case aiohttp.ClientConnectorError():
            return TransportError(_ERRNO_WORDS.get(exc.os_error.errno or 0, "unreachable"))
        case ValueError() | aiohttp.NonHttpUrlClientError():
            return TransportError("unsendable")  # a method, host or header that cannot be
        case _:
            return TransportError("disconnected", http_status=status)
