"""A relay between a daemon and PostgreSQL, which can refuse, or end the daemon at a commit."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

CHUNK = 65536


@dataclass(frozen=True)
class CommitDeath:
    """The daemon is killed at its nth COMMIT: before the server has it, or before its answer."""

    nth: int
    stage: Literal["before", "after"]

    def __str__(self) -> str:
        return f"{self.stage} commit {self.nth}"


class Relay:
    """Passes bytes on in both directions."""

    def __init__(self, host: str, port: int) -> None:
        """``host`` and ``port`` are the server's."""
        self.port = 0
        self._target = host, port
        self._refuses = False
        self._death: CommitDeath | None = None
        self._kill: Callable[[], None] = lambda: None
        self._left = 0
        self._writers: set[asyncio.StreamWriter] = set()

    def arm(self, death: CommitDeath | None, kill: Callable[[], None]) -> None:
        """Call ``kill`` at the commit of ``death``, counted from now."""
        self._death, self._kill = death, kill
        self._left = death.nth if death else 0

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Cut all connections, and every new one, during the block."""
        self._refuses = True
        for writer in self._writers:
            writer.transport.abort()
        try:
            yield
        finally:
            self._refuses = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection until either side ends it."""
        with suppress(OSError):
            if self._refuses:
                return writer.transport.abort()
            behind, to_server = await asyncio.open_connection(*self._target)
            self._writers |= {writer, to_server}
            try:
                passing = (
                    asyncio.create_task(self._pass(reader, to_server, "before")),
                    asyncio.create_task(self._pass(behind, writer, "after")),
                )
                await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in (writer, to_server):
                    end.transport.abort()
                    self._writers.discard(end)
                await asyncio.gather(*passing, return_exceptions=True)
        return None

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        stage: Literal["before", "after"],
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                if self._death is not None and self._death.stage == stage and b"COMMIT" in chunk:
                    self._left -= 1
                    if not self._left:
                        self._kill()
                        return
                writer.write(chunk)
                await writer.drain()


@asynccontextmanager
async def relay_to(host: str, port: int) -> AsyncIterator[Relay]:
    """Run a relay to the server at ``host`` and ``port``."""
    relay = Relay(host, port)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        with relay.refusing():
            await server.wait_closed()
