"""Accepts connections on the listening socket, without asyncio's server.

asyncio's server closes connections that it has accepted and not served yet, and cannot pause. This
one calls ``accept`` itself, so a stop drops nothing that was accepted, and connections beyond the
limit wait in the kernel instead of being refused.

The reasons: docs/decisions/024.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from reconciler.inbound.limits import Limits
from reconciler.inbound.log_limit import LogLimit
from reconciler.runtime.current_value import Current

BACKLOG = 1024
"""Connections that may wait in the kernel."""

_AT_ONCE = 64
_PAUSE = 0.5
"""Seconds until the next attempt when the system has no file descriptor left."""
_TLS_SHUTDOWN = 1.0
"""Seconds that the other side has to end TLS; its place is not free before."""


class Acceptor:
    """Accepts on one listening socket while fewer connections are open than may be."""

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        tls: Current[ssl.SSLContext | None],
        *,
        limits: Limits,
        log_limit: LogLimit,
        log: FilteringBoundLogger,
    ) -> None:
        """``protocol`` makes the protocol of one connection, which calls ``closed`` at its end."""
        self._socket = listening
        self._protocol = protocol
        self._tls = tls
        self._most = limits.most_connections
        self._timeouts = {
            "ssl_handshake_timeout": limits.request_timeout,
            "ssl_shutdown_timeout": _TLS_SHUTDOWN,
        }
        self._log_limit = log_limit
        self._log = log
        self._open = 0
        self._is_reading = False
        self._is_stopped = False
        self._handshakes: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to accept."""
        self._socket.setblocking(False)
        self._read()

    def stop(self) -> None:
        """Accept the connections that wait in the kernel, then no more."""
        if self._is_reading:
            self._accept(most=BACKLOG)
        self._is_stopped = True
        self._unread()

    def closed(self) -> None:
        """Give the place of a connection that has ended to the next."""
        self._open -= 1
        if not self._is_reading and not self._is_stopped:
            self._read()

    async def handshakes(self) -> None:
        """Wait until every accepted connection has its protocol."""
        if self._handshakes:
            await asyncio.wait(self._handshakes)

    def _accept(self, most: int = _AT_ONCE) -> None:
        for _ in range(most):
            if self._open >= self._most:
                self._full(None)
                return
            try:
                connection, _peer = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:  # EMFILE and the like: connections wait in the kernel
                self._full(error.strerror)
                asyncio.get_running_loop().call_later(_PAUSE, self._read)
                return
            connection.setblocking(False)
            self._open += 1
            task = asyncio.get_running_loop().create_task(self._serve(connection))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        tls = self._tls.value
        timeouts = self._timeouts if tls else {}
        try:
            await loop.connect_accepted_socket(self._protocol, connection, ssl=tls, **timeouts)
        except OSError as error:  # a sender that hung up, or a failed TLS handshake
            self._log.debug("connection_failed", error=type(error).__name__)
            connection.close()
            self.closed()

    def _full(self, error: str | None) -> None:
        self._unread()
        if self._log_limit.may_log("connections_full"):
            self._log.warning("connections_full", open=self._open, error=error)

    def _read(self) -> None:
        if not self._is_reading and not self._is_stopped:
            asyncio.get_running_loop().add_reader(self._socket.fileno(), self._accept)
            self._is_reading = True

    def _unread(self) -> None:
        if self._is_reading:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._is_reading = False
