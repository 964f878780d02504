"""Answers clients outside ``allow_from`` with 403, beside the connections that are served.

They take no place, are few at a time and for a second at most: beyond that they are closed without
an answer.
"""

import asyncio
import socket
from collections.abc import Callable

_BODY = b'{"error":"forbidden","detail":"this address is not allowed"}'
_ANSWER = (
    b"HTTP/1.1 403 Forbidden\r\n"
    b"Content-Type: application/json; charset=utf-8\r\n"
    b"Content-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s"
) % (len(_BODY), _BODY)
_MOST = 64
"""Clients that are answered at once."""
_SECONDS = 1.0
"""Seconds for a client, from accept to close."""


class TurnedAway:
    """The connections of clients that are refused before they have sent a request."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, connection: socket.socket) -> None:
        """Answer ``connection`` and close it."""
        if len(self._tasks) >= _MOST:
            connection.close()
            return
        connection.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._refuse(connection))
        self._tasks.add(task)
        task.add_done_callback(_closing(connection))
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait until all are closed."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _refuse(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_SECONDS):
                if await loop.sock_recv(connection, 1 << 16):  # else a health check
                    await loop.sock_sendall(connection, _ANSWER)
                    connection.shutdown(socket.SHUT_WR)
                    while await loop.sock_recv(connection, 1 << 16):
                        pass  # a close with unread bytes is a reset, which takes the answer away
        except OSError:
            return  # it hung up, or its second is over


def _closing(connection: socket.socket) -> Callable[[object], None]:
    return lambda _: connection.close()
