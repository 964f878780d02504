"""One connection of the public listener: aiohttp's, with a time limit and a gentle end.

A subclass of ``aiohttp.web.RequestHandler``, whose methods it overrides or calls are public. Three
of its private members are used, so pyproject.toml pins aiohttp's minor version: ``_loop``,
``_parser``, and ``_messages``, the requests that are parsed and not begun.
"""

import asyncio
import fcntl
import struct
import termios
import zlib
from contextlib import suppress
from typing import Any, Protocol, cast

from aiohttp import StreamReader, web
from aiohttp.http import HttpRequestParser
from structlog.typing import FilteringBoundLogger

from reconciler.inbound.checks import Rejection
from reconciler.inbound.content_encoding import (
    TooLargeError,
    UnknownEncodingError,
    encoding_of,
    unpack,
)
from reconciler.inbound.deadline import Deadline
from reconciler.inbound.http_parser import PatientParser, refusal_of
from reconciler.inbound.places import Place

LINGERING = 3.0
"""Seconds to read on after a refusal, so that the sender can see the answer."""

_LEAST_LINGERING = 0.2
"""Seconds of that before it gives way for another connection."""

_LEAST_SILENCE = 1.0
"""Seconds in which a new connection may be silent before it gives way for another."""

_NEVER = 1e8
"""Seconds. aiohttp's own idle time-out knows nothing of bytes that are on their way."""

_AFTER_EOF = 0.1
"""Seconds in which a request must turn out to be whole whose sender has finished writing."""

_LIMITS: dict[str, Any] = {
    "max_line_size": 8190,
    "max_field_size": 8190,
    "max_headers": 64,
}
_AT_ONCE = 2**16
_PIPELINED = 32
"""The most that one connection may make us hold."""


class Owner(Protocol):
    """The listener, as its connections see it."""

    @property
    def keepalive(self) -> float:
        """Seconds for which an idle connection is kept."""
        ...

    def unreadable(self, request: web.BaseRequest, rejection: Rejection) -> web.Response:
        """Return the answer to bytes that are not HTTP."""
        ...

    def failed(self, error: BaseException | None) -> web.Response:
        """Return the answer to a request that a bug has ended."""
        ...


class Connection(web.RequestHandler):
    """Reads requests and writes answers; is cut off when a request takes too long.

    The time runs while we wait for the other side: for its handshake, for its request, and until it
    has taken the answer. It stands still while we work, which has limits of its own.
    """

    def __init__(
        self,
        server: web.Server,
        owner: Owner,
        place: Place,
        *,
        timeout: float,
        log: FilteringBoundLogger,
    ) -> None:
        """Start the clock, so that a silent connection is cut off too."""
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # None is how it is turned off
            keepalive_timeout=_NEVER,
            lingering_time=0.0,  # ours also works where the request was not HTTP
            read_bufsize=_AT_ONCE,
            auto_decompress=False,
            **_LIMITS,
        )
        self._http = PatientParser(self._parser, self._new_parser)
        self._parser = self._http  # type: ignore[assignment]
        self._owner = owner
        self._place = place
        self._timeout = timeout
        self._log = log
        self._accepted_at = self._loop.time()
        self._wire: asyncio.Transport | None = None
        """The transport until it is closed; aiohttp forgets its own earlier."""
        self._deadline = Deadline(self._loop)
        self._body: StreamReader | None = None
        self._has_spoken = False
        self._is_unreadable = False
        self._leaving_since: float | None = None
        self._has_ended = asyncio.Event()
        """Set when the other side has finished writing."""
        self.idle = asyncio.Event()
        """Set while no request is under way: from its first byte to its written answer."""
        self.idle.set()

    @property
    def is_busy(self) -> bool:
        """Whether a request has begun and is not answered yet."""
        return not self.idle.is_set()

    async def read_body(self, request: web.BaseRequest, most: int) -> bytes:
        """Return the whole body, and stop the clock.

        Raises 413 as soon as it is known to be too large, 415 for an encoding that is not unpacked
        here, and 400 when it ends too early.
        """
        try:
            encoding = encoding_of(request.headers.getall("Content-Encoding", []))
        except UnknownEncodingError:
            detail = "a body is read as it is, or unpacked from gzip or deflate"
            raise Rejection(415, "unknown_encoding", detail) from None
        if request.content_length is not None and request.content_length > most:
            raise _too_large(most)
        self._body = content = request.content
        self._end_body()
        body = bytearray()
        try:
            if "Expect" in request.headers:
                await _meet_expectation(request)
            while chunk := await content.readany():
                body += chunk
                if len(body) > most:
                    raise _too_large(most)
            self._body = None
            self._deadline.clear()
            return bytes(body) if encoding is None else unpack(bytes(body), most)
        except TooLargeError:
            raise _too_large(most) from None
        except (web.RequestPayloadError, OSError, zlib.error):
            raise Rejection(400, "incomplete", "the body could not be read to its end") from None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the clock run on: the time of a TLS handshake counts."""
        self._wire = cast(asyncio.Transport, transport)
        self._allow(self._accepted_at + self._timeout - self._loop.time())
        self._place.idle(self)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Start the clock at the first byte of a request; aiohttp also calls this with none."""
        if self._leaving_since is not None:
            return
        if data and not self.is_busy:
            self._has_spoken = True
            self.idle.clear()
            self._place.busy()
            self._http.begin()
            self._allow(self._timeout)
        super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio lets it say to stay open
        """Stay open for the answer to a request that the sender has sent whole."""
        self._has_ended.set()
        self._end_body()
        if not self.is_busy or self._wire is None:
            return False
        if self._deadline.is_set:
            self._allow(_AFTER_EOF)
        return self._wire.can_write_eof()  # TLS cannot be open in one direction

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the connection's place back."""
        self._deadline.close()
        self._wire = None
        self._has_ended.set()
        self.idle.set()
        self._place.free()
        super().connection_lost(exc)

    def give_way(self) -> bool:
        """Close at once; False where a request or an answer may be on its way."""
        wire, now = self._wire, self._loop.time()
        if wire is None or self.is_busy or wire.get_write_buffer_size() > 0:
            return False
        if self._leaving_since is not None:
            if not wire.is_closing() and now < self._leaving_since + _LEAST_LINGERING:
                return False
        else:
            is_new = not self._has_spoken and now < self._accepted_at + _LEAST_SILENCE
            if is_new or _bytes_wait(wire):
                return False
        wire.abort()
        return True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer in JSON and close."""
        self._is_unreadable = True
        if status >= 500:
            return self._owner.failed(exc)
        return self._owner.unreadable(request, refusal_of(exc, self._http.head))

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write the answer; a sender that is still sending can read it before we close.

        A sender that is refused is closed, unless its next request is here already.
        """
        self._body = None
        lingers = self._is_unreadable or not request.content.is_eof()
        if lingers or (400 <= resp.status < 500 and not self._messages):
            resp.force_close()
        elif request.keep_alive and resp.keep_alive is not False:
            resp.headers["Keep-Alive"] = f"timeout={int(self._owner.keepalive)}"
        self._allow(self._timeout)
        resp, is_lost = await super().finish_response(request, resp, start_time)
        if not is_lost:
            if not resp.keep_alive:
                self._leave()
            elif self._messages:
                self._allow(self._timeout)
            else:
                self._rest()
            if lingers:
                await self._linger()
        return resp, is_lost

    def _rest(self) -> None:
        """Wait for the next request, unless the other side still has to take the answer."""
        self.idle.set()
        self._place.idle(self)
        if self._wire is None or self._wire.get_write_buffer_size() > 0:
            return
        if self._has_ended.is_set():
            self._allow(_AFTER_EOF)
        else:
            self._deadline.set(self._owner.keepalive, self._end_rest)

    def _end_rest(self) -> None:
        """Close a connection that was idle for long, and never one on which a request arrives."""
        if self._wire is None or self.is_busy:
            return
        if _bytes_wait(self._wire):
            self._allow(self._timeout)
        else:
            self.force_close()

    def _leave(self) -> None:
        """Let others have the place, now that the last answer is written."""
        self.idle.set()
        self._leaving_since = self._loop.time()
        self._place.leaving(self)
        if self._wire is not None and self._wire.get_write_buffer_size() == 0:
            self._deadline.clear()

    async def _linger(self) -> None:
        """Discard what still arrives, until the sender has seen the answer and hangs up.

        Closing at once would reset the connection, and the answer with it.
        """
        wire = self._wire
        if wire is None or wire.is_closing() or self._has_ended.is_set():
            return
        self._deadline.clear()
        if wire.can_write_eof():
            wire.write_eof()
        wire.resume_reading()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGERING):
                await self._has_ended.wait()
        self._allow(self._timeout)

    def _end_body(self) -> None:
        """End the reading of a body whose sender has finished too early."""
        if self._body is not None and self._has_ended.is_set() and not self._body.is_eof():
            self._body.set_exception(ConnectionResetError())

    def _allow(self, seconds: float) -> None:
        if self._wire is not None:
            self._deadline.set(seconds, self._expire)

    def _expire(self) -> None:
        self._log.debug("connection_timeout")
        if self._wire is not None:
            self._wire.abort()  # closing would wait for the other side to read

    def _new_parser(self) -> HttpRequestParser:
        """Return a parser like the one that aiohttp has made."""
        return HttpRequestParser(
            self,
            self._loop,
            _AT_ONCE,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=_PIPELINED,
            **_LIMITS,
        )


def _bytes_wait(wire: asyncio.Transport) -> bool:
    """Tell whether the kernel holds bytes that have not been read yet."""
    sock = wire.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    (count,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)))
    return bool(count)


def _too_large(most: int) -> Rejection:
    return Rejection(413, "too_large", f"the body is larger than {most} bytes")


async def _meet_expectation(request: web.BaseRequest) -> None:
    """Ask for the body where the sender waits for that."""
    if request.headers["Expect"].lower() == "100-continue" and request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
