"""aiohttp's HTTP protocol, with the few things the listener does otherwise."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

from reconciler.inbound.checks import Rejection
from reconciler.inbound.deadline import TimedConnection

_LIMITS: dict[str, Any] = {
    "max_line_size": 8190,
    "max_field_size": 8190,
    "max_headers": 64,
    "read_bufsize": 2**16,
}
"""What one connection may make us hold: bytes of a header, headers, and bytes of a body."""

OnError = Callable[[web.BaseRequest, int, BaseException | None], web.Response]


class Handler(web.RequestHandler):
    """The protocol of one connection. Its errors are JSON, and logged without a traceback."""

    __slots__ = ("_on_error",)

    def __init__(
        self,
        server: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        on_error: OnError,
        keepalive: float,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # None is how it is turned off
            keepalive_timeout=keepalive,
            lingering_time=0.0,  # ours works for what is not HTTP, too
            **_LIMITS,
        )
        self._on_error = on_error

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer in JSON and close."""
        return self._on_error(request, status, exc)


def connection_of(request: web.BaseRequest) -> TimedConnection | None:
    """Return the connection that ``request`` came on; None if it is lost already."""
    protocol = request.transport.get_protocol() if request.transport else None
    return protocol if isinstance(protocol, TimedConnection) else None


async def read_body(request: web.BaseRequest, most: int) -> bytes:
    """Return the whole body, or raise 413 as soon as it is known to be too large."""
    too_large = Rejection(413, "too_large", f"the body is larger than {most} bytes")
    if request.content_length is not None and request.content_length > most:
        raise too_large
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > most:
                raise too_large
    except (web.RequestPayloadError, ConnectionError):
        raise Rejection(400, "incomplete", "the body could not be read to its end") from None
    return bytes(body)
