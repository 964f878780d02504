"""A time limit for a whole request. aiohttp has none for headers or a body that arrive slowly."""

import asyncio
from collections.abc import Callable

REQUEST_TIMEOUT = 10.0
"""Seconds from the first byte (or the connection) to the last byte of a request."""


class TimedConnection(asyncio.Protocol):
    """Stands before aiohttp's protocol and closes a connection whose request takes too long."""

    def __init__(
        self,
        inner: asyncio.Protocol,
        *,
        limit: float,
        on_open: Callable[["TimedConnection"], None],
        on_closed: Callable[["TimedConnection"], None],
        on_timeout: Callable[[], None],
    ) -> None:
        self._inner = inner
        self._limit = limit
        self._on_open = on_open
        self._on_closed = on_closed
        self._on_timeout = on_timeout
        self._transport: asyncio.BaseTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done whenever no request is under way: from its first byte to its answer."""
        self.idle.set_result(None)

    @property
    def is_busy(self) -> bool:
        """Whether a request has begun and is not answered yet."""
        return not self.idle.done()

    def request_received(self) -> None:
        """The request has been read to its end: its time stops."""
        self._stop()

    def request_answered(self) -> None:
        """The answer is on its way."""
        if not self.idle.done():
            self.idle.set_result(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock: a connection that never says anything is closed too."""
        self._transport = transport
        self._on_open(self)
        self._start()
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Start the clock at the first byte after an answer."""
        if self.idle.done():
            loop = asyncio.get_running_loop()
            self.idle = loop.create_future()
            if self._timer is None:
                self._start()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on: the sender has finished writing, but still gets its answer."""
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the connection's place back."""
        self._stop()
        self.request_answered()
        self._on_closed(self)
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._inner.resume_writing()

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._limit, self._expire)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        self._on_timeout()
        if self._transport is not None:
            self._transport.close()
