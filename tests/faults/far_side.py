"""A server on a real socket that stands for one far side of the daemon, and can be made to fail."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Exchange = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Treats a connection instead of answering; it is closed afterwards."""

OK = b"HTTP/1.1 200 OK\r\n"
HTML = b"<html><body><h1>Please try again later</h1></body></html>"


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    """By their names in lower case."""
    body: bytes


class FarSide:
    """Answers each request by ``answer`` while it is well."""

    def __init__(
        self, answer: Callable[[Request], bytes], tls: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        """Those that were accepted."""
        self.port = 0
        self.is_nameless = False
        """Whether its name cannot be resolved."""
        self._answer = answer
        self._well_tls = tls
        self._exchange: Exchange | None = None
        self._reads_first = True
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def open(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections, and end those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    async def show(self, tls: ssl.SSLContext | None) -> None:
        """Serve the same port with another TLS, or with none."""
        await self.close()
        await self.open(tls)

    def fail(self, exchange: Exchange, *, reads_first: bool = True) -> None:
        """Treat each connection so; ``reads_first``: once its request has come."""
        self._exchange, self._reads_first = exchange, reads_first

    async def mend(self) -> None:
        """Be well again."""
        self._exchange = None
        self.is_nameless = False
        await self.show(self._well_tls)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        self.connections += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while self._exchange is None or self._reads_first:
                    self.requests.append(await _read(reader))
                    if self._exchange is not None:
                        break
                    writer.write(self._answer(self.requests[-1]))
                if self._exchange is not None:
                    await self._exchange(reader, writer)
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.split("\r\n")[:-2]
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(first.split(" ")[1], headers, body)


def answer(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body), b"", body]
    return b"\r\n".join(lines)


def says(data: bytes) -> Exchange:
    """Write ``data`` and close."""

    async def exchange(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return exchange


async def resets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def hangs(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    while await reader.read(65536):  # until the daemon goes
        pass


async def trickles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Write an answer byte by byte, each far within any limit, for ever."""
    gone = asyncio.create_task(hangs(reader, writer))
    try:
        for byte in OK + b"X: " + b"x" * 1_000_000:
            writer.write(bytes([byte]))
            if (await asyncio.wait({gone}, timeout=0.05))[0]:
                return
    finally:
        gone.cancel()
