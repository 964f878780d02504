"""A time limit for a whole request. aiohttp has none for headers or a body that arrive slowly."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from aiohttp import StreamReader

REQUEST_TIMEOUT = 10.0
"""Seconds from the first byte (or the connection) to the last byte of a request."""

_AFTER_EOF = 0.1
"""Seconds to find out that what a sender has left behind is not a whole request."""


class TimedConnection(asyncio.Protocol):
    """Stands before aiohttp's protocol and cuts a connection whose request takes too long.

    The time runs while we wait for the other side: for its handshake, its request, or for it to
    take the answer. It stands still while we work, which has its own limits.
    """

    def __init__(
        self,
        inner: asyncio.Protocol,
        *,
        limit: float,
        on_open: Callable[["TimedConnection"], None],
        on_closed: Callable[["TimedConnection"], None],
        on_timeout: Callable[[], None],
    ) -> None:
        """Start the clock: a connection that never says anything is closed too."""
        self._inner = inner
        self._limit = limit
        self._on_open = on_open
        self._on_closed = on_closed
        self._on_timeout = on_timeout
        self._loop = asyncio.get_running_loop()
        self._accepted_at = self._loop.time()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._body: StreamReader | None = None
        self._has_ended = False
        self._lingering: asyncio.Future[None] | None = None
        self.idle: asyncio.Future[None] = self._loop.create_future()
        """Done whenever no request is under way: from its first byte to its written answer."""
        self.idle.set_result(None)

    @property
    def is_busy(self) -> bool:
        """Whether a request has begun and is not answered yet."""
        return not self.idle.done()

    def request_begun(self, body: StreamReader) -> None:
        """The head of a request has been read, and ``body`` is what follows.

        A pipelined request may have come with the one before it, unseen by us.
        """
        self._begin()
        self._body = body
        self._end_body()

    def request_received(self) -> None:
        """The request has been read to its end: its time stops."""
        self._body = None
        self._stop()

    def answer_ready(self) -> None:
        """The answer is about to be written: the time to take it begins."""
        self._body = None
        self._allow(self._limit)

    def answer_written(self) -> None:
        """The answer is on its way, as far as the transport says."""
        if not self.idle.done():
            self.idle.set_result(None)
        if self._holds_unsent():
            return  # the time goes on
        if self._has_ended:
            self._allow(_AFTER_EOF)
        else:
            self._stop()

    async def linger(self, seconds: float) -> None:
        """Discard what the sender still sends, until it has seen the answer and hangs up.

        Closing at once would reset the connection, and the answer with it.
        """
        transport = self._transport
        if transport is None or transport.is_closing() or self._has_ended:
            return
        self._stop()
        self._lingering = self._loop.create_future()
        if transport.can_write_eof():
            transport.write_eof()
        transport.resume_reading()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._lingering
        self._allow(self._limit)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Go on with what the TLS handshake has left of the time."""
        self._transport = cast(asyncio.Transport, transport)
        self._on_open(self)
        self._allow(self._accepted_at + self._limit - self._loop.time())
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Start the clock at the first byte after an answer."""
        if self._lingering is None:
            self._begin()
            self._inner.data_received(data)

    def eof_received(self) -> bool:
        """The sender has finished writing; what it has sent whole still gets its answer."""
        self._has_ended = True
        self._end_lingering()
        self._inner.eof_received()
        self._end_body()
        if not self.is_busy or self._transport is None:
            return False
        if self._timer is not None:
            self._allow(_AFTER_EOF)
        return self._transport.can_write_eof()  # TLS cannot be open in one direction

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the connection's place back."""
        self._stop()
        self._transport = None
        self._end_lingering()
        if not self.idle.done():
            self.idle.set_result(None)
        self._on_closed(self)
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._inner.resume_writing()

    def _begin(self) -> None:
        if self.idle.done():
            self.idle = self._loop.create_future()
            self._allow(self._limit)

    def _end_body(self) -> None:
        """Wake the reader of a body whose sender has gone before its end."""
        if self._has_ended and self._body is not None and not self._body.is_eof():
            self._body.set_exception(ConnectionResetError())

    def _end_lingering(self) -> None:
        if self._lingering is not None and not self._lingering.done():
            self._lingering.set_result(None)

    def _holds_unsent(self) -> bool:
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def _allow(self, seconds: float) -> None:
        self._stop()
        if self._transport is not None:
            self._timer = self._loop.call_later(max(0.0, seconds), self._expire)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        self._on_timeout()
        if self._transport is not None:
            self._transport.abort()  # to close would wait until the other side has read
