"""Accepts connections on the listening sockets, without asyncio's server.

asyncio's server closes connections that it has accepted and not served yet, and cannot pause. This
one calls ``accept`` itself, so a stop drops nothing that was accepted, and connections beyond the
limit wait in the kernel instead of being refused.

The reasons: docs/decisions/024.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from reconciler.inbound.limits import Limits
from reconciler.inbound.log_limit import LogLimit
from reconciler.inbound.places import Place, Places
from reconciler.inbound.tls import failure_of
from reconciler.inbound.turned_away import TurnedAway
from reconciler.runtime.current_value import Current

BACKLOG = 1024
"""Connections that may wait in the kernel."""

_AT_ONCE = 64
_PAUSE = 0.5
"""Seconds until the next attempt when the system has no file descriptor left."""
_AGAIN = 0.1
"""Seconds until the next attempt when all places are taken and none has become free."""
_TLS_SHUTDOWN = 1.0
"""Seconds that the other side has to end TLS."""
_FIRST = 12
"""Bytes by which HTTP, the PROXY protocol and TLS are told apart."""
_HANDSHAKE = 2.0
"""Seconds after which a TLS handshake gives way for another connection."""


class Owner(Protocol):
    """The listener, as the acceptor sees it."""

    def connection(self, place: Place) -> asyncio.Protocol:
        """Return the protocol of one connection, which frees ``place`` at its end."""
        ...

    def drops(self, peer: str) -> bool:
        """Tell whether nobody at the address ``peer`` can ever be served."""
        ...

    def handshake_failed(self, reason: str, remote: str) -> None:
        """Count a TLS handshake that failed."""
        ...


class Acceptor:
    """Accepts on the listening sockets while fewer connections are open than may be."""

    def __init__(
        self,
        listening: Sequence[socket.socket],
        owner: Owner,
        tls: Current[ssl.SSLContext | None],
        *,
        limits: Limits,
        log_limit: LogLimit,
        log: FilteringBoundLogger,
    ) -> None:
        self._sockets = tuple(listening)
        self._owner = owner
        self._tls = tls
        self._timeouts = {
            "ssl_handshake_timeout": limits.request_timeout,
            "ssl_shutdown_timeout": _TLS_SHUTDOWN,
        }
        self._log_limit = log_limit
        self._log = log
        self._is_reading = False
        self._is_stopped = False
        self._handshakes: set[asyncio.Task[None]] = set()
        self._turned_away = TurnedAway()
        self.places = Places(limits.most_connections, self)

    def start(self) -> None:
        """Begin to accept."""
        for listening in self._sockets:
            listening.setblocking(False)
        self.retry()

    def stop(self) -> None:
        """Accept the connections that wait in the kernel, then no more."""
        was_reading, self._is_stopped = self._is_reading, True
        if was_reading:
            for listening in self._sockets:
                self._accept(listening, most=BACKLOG)
        self._unread()

    def retry(self) -> None:
        """Accept again, after a pause."""
        if not self._is_reading and not self._is_stopped:
            for listening in self._sockets:
                accept = partial(self._accept, listening)
                asyncio.get_running_loop().add_reader(listening.fileno(), accept)
            self._is_reading = True

    async def handshakes(self) -> None:
        """Wait until every accepted connection has its protocol, or is turned away."""
        if self._handshakes:
            await asyncio.wait(self._handshakes)
        await self._turned_away.finish()

    def _accept(self, listening: socket.socket, most: int = _AT_ONCE) -> None:
        for number in range(most):
            if self.places.are_taken:
                if number == 0:  # so somebody waits; later on nobody knows
                    self._wait_for_a_place()
                return
            try:
                connection, peer = listening.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:  # EMFILE and the like: connections wait in the kernel
                self._pause(_PAUSE)
                self._tell_full(error.strerror)
                return
            remote = str(peer[0]) if isinstance(peer, tuple) else ""
            if remote and self._owner.drops(remote):
                if self._tls.value:  # a handshake for nothing is work that a stranger could ask for
                    connection.close()
                else:
                    self._turned_away.take(connection)
                continue
            connection.setblocking(False)
            place = self.places.take()
            task = asyncio.get_running_loop().create_task(self._serve(connection, place, remote))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _serve(self, connection: socket.socket, place: Place, remote: str) -> None:
        loop = asyncio.get_running_loop()
        tls = self._tls.value
        timeouts = self._timeouts if tls else {}
        if tls:
            place.idle(_Handshake(asyncio.current_task(), loop.time() + _HANDSHAKE))
        begin = b""
        try:
            if tls:
                begin = await _first_bytes(connection, self._timeouts["ssl_handshake_timeout"])
            await loop.connect_accepted_socket(
                partial(self._owner.connection, place), connection, ssl=tls, **timeouts
            )
        except OSError as error:  # a sender that hung up, or a failed TLS handshake
            self._log.debug("connection_failed", error=type(error).__name__)
            if tls and (begin or isinstance(error, TimeoutError)):  # else a health check
                self._owner.handshake_failed(failure_of(error, begin), remote)
            connection.close()
            place.free()
        except asyncio.CancelledError:  # it has given way
            connection.close()
            place.free()
            raise

    def _wait_for_a_place(self) -> None:
        self._pause(_AGAIN)
        if not self._is_stopped and not self.places.make_room() and self.places.are_busy:
            self._tell_full(None)

    def _tell_full(self, error: str | None) -> None:
        if self._log_limit.may_log("connections_full"):
            self._log.warning("connections_full", open=self.places.taken, error=error)

    def _pause(self, seconds: float) -> None:
        self._unread()
        asyncio.get_running_loop().call_later(seconds, self.retry)

    def _unread(self) -> None:
        if self._is_reading:
            for listening in self._sockets:
                asyncio.get_running_loop().remove_reader(listening.fileno())
            self._is_reading = False


async def _first_bytes(connection: socket.socket, seconds: float) -> bytes:
    """Return the first bytes of a connection without taking them. Raises OSError.

    They tell afterwards who spoke, where no TLS follows.
    """
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(connection.fileno(), tell)
    try:
        await asyncio.wait_for(readable, seconds)
    finally:
        loop.remove_reader(connection.fileno())
    return connection.recv(_FIRST, socket.MSG_PEEK)


class _Handshake:
    """A TLS handshake, which gives way after a while."""

    def __init__(self, task: asyncio.Task[None] | None, until: float) -> None:
        self._task = task
        self._until = until

    def give_way(self) -> bool:
        """Cancel the handshake, unless it has just begun."""
        if self._task is None or asyncio.get_running_loop().time() < self._until:
            return False
        return self._task.cancel()
