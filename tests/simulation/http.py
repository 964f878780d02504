"""The network between the daemon and the two it calls: an aiohttp session without sockets.

The transport, its time limits and the translation of aiohttp's errors are the real ones.
tests/faults has the same faults on real sockets.
"""

import asyncio
import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the other side sees it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    life: int
    """The number of the daemon that sent it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """How a request ends: after ``seconds``, with an answer or with ``fault``."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.05
    fault: str = ""
    """refused, reset, hang, cut (in the body), or none."""


class Server(Protocol):
    """The other side."""

    def serve(self, request: Request) -> Reply:
        """Take a request and say how it ends."""
        ...

    def ended(self, request: Request) -> None:
        """Hear that the daemon no longer waits for the answer."""
        ...


class _Body:
    def __init__(self, body: bytes, *, is_cut: bool) -> None:
        self._body = body
        self._is_cut = is_cut

    async def read(self, size: int) -> bytes:
        piece, self._body = self._body[:size], self._body[size:]
        if not piece and self._is_cut:
            raise aiohttp.ClientPayloadError("cut")
        return piece


class _Response:
    charset = "utf-8"
    closed = True

    def __init__(self, reply: Reply) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self.content = _Body(reply.body, is_cut=reply.fault == "cut")


class Session:
    """The part of an aiohttp session that the daemon uses."""

    def __init__(self, server: Server, life: int) -> None:
        self._server = server
        self._life = life

    async def __aenter__(self) -> "Session":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def close(self) -> None:
        pass

    async def request(
        self, method: str, url: URL, *, headers: Mapping[str, str], data: Any, **_: Any
    ) -> _Response:
        """Send a request to the other side; it arrives at once, and the answer takes its time."""
        request = Request(method, url.path, headers, data, self._life)
        try:
            return await self._answer(self._server.serve(request))
        finally:
            self._server.ended(request)

    async def _answer(self, reply: Reply) -> _Response:
        if reply.fault == "hang":
            await asyncio.Event().wait()
        await asyncio.sleep(reply.seconds)
        if reply.fault == "refused":
            key = ConnectionKey("assure", 443, True, True, None, None, None)
            raise aiohttp.ClientConnectorError(key, OSError(errno.ECONNREFUSED, "refused"))
        if reply.fault == "reset":
            raise aiohttp.ServerDisconnectedError
        return _Response(reply)
