"""The daemon as its users run it: a child process, a file, real sockets, a log on stdout."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import IO, Any

import aiohttp
import pytest
import structlog

from reconciler.simulator import Faults, Simulator, World
from tests.e2e.place import Place
from tests.forks import LONGEST_LINE, Forks, Process
from tests.postgres import FAST, Server, running_server

PATIENCE = 60.0
"""Seconds after which a condition counts as never met; generous, for a slow machine."""

AUTHORIZATION = "Bearer canary-authorization-7f3a"
CLIENT_SECRET = "canary-client-secret-91bc"
ADMIN_TOKEN = "canary-admin-token-c2d4"

CONFIG = """
[listener]
port = 0
authorization = ["{authorization}"]
[admin]
listen = "127.0.0.1:0"
token = "{admin_token}"
[assure]
base_url = "{base_url}"
token_url = "{token_url}"
client_id = "demo"
client_secret = "{client_secret}"
timeout = "2s"
requests_per_second = 500
[reconcile]
callback_timeout = "500ms"
sweep_interval = "50ms"
notify_grace = "2s"
backoff = {{ initial = "500ms", factor = 2.0, max = "2s", jitter = 0.1 }}
[store]
url = "sqlite:///{directory}/store.db"
spool = "{directory}/spool"
"""


class Daemon:
    """One run of ``reconciler run``."""

    def __init__(self, process: Process, errors: Path) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self._errors = errors
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if not line.endswith(b"\n"):
                break  # torn by a kill
            self.lines.append(line.decode())
            self.events.append(json.loads(line))
            async with self._news:
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    @property
    def stderr(self) -> str:
        return self._errors.read_text()

    def named(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.events if line["event"] == event]

    async def said(
        self, event: str, count: int = 1, where: Callable[[dict[str, Any]], bool] | None = None
    ) -> dict[str, Any]:
        """Wait until the log has ``count`` lines named ``event`` and return the newest."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.named(event) if where is None or where(line)]

        async with asyncio.timeout(PATIENCE), self._news:
            while len(found()) < count:
                assert not self._reading.done(), f"ended before {event}: {self.stderr}"
                await self._news.wait()
        return found()[-1]

    async def ready(self) -> "Daemon":
        told = await self.said("ready")
        self.callback_url = told["listener"] + "/callbacks/assure"
        self.admin_url = told["admin"]
        return self

    async def hang_up(self, told: str = "config_reloaded") -> dict[str, Any]:
        """Send SIGHUP and return what the daemon says of it."""
        count = len(self.named(told))
        self.process.send_signal(signal.SIGHUP)
        return await self.said(told, count + 1)

    async def post(self, client: aiohttp.ClientSession, authorization: str, process: str) -> int:
        """Post a callback and return the status of the answer."""
        body = {"dossierId": "d", "processId": process, "status": "accepted"}
        headers = {"Authorization": authorization}
        async with client.post(self.callback_url, json=body, headers=headers) as answer:
            return answer.status

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            await self._reading
            return await self.process.wait()


class Yard:
    """A folder with a configuration, the simulated Assure it points to, and daemons on both."""

    def __init__(self, directory: Path, simulator: Simulator, world: World, forks: Forks) -> None:
        self.directory = directory
        self.simulator = simulator
        self.world = world
        self.config = directory / "reconciler.toml"
        self.store = directory / "store.db"
        self.prefix: tuple[str, ...] = ()
        """A command that runs another: a daemon is started with it."""
        self._forks = forks
        self._runs = 0
        self._daemons: list[Daemon] = []
        self.config.write_text(
            CONFIG.format(
                directory=directory,
                base_url=simulator.base_url,
                token_url=simulator.token_url,
                authorization=AUTHORIZATION,
                client_secret=CLIENT_SECRET,
                admin_token=ADMIN_TOKEN,
            )
        )

    def edit(self, *changes: tuple[str, str]) -> None:
        """Replace texts of the configuration that must be there."""
        text = self.config.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        # As editors do: a daemon that is asked to read meanwhile sees the old file or the new one.
        new_file = self.config.with_suffix(".new")
        new_file.write_text(text)
        new_file.replace(self.config)

    async def start(self, **environ: str) -> Daemon:
        """Start a daemon; does not wait for it."""
        self._runs += 1
        errors = self.directory / f"stderr-{self._runs}"
        with errors.open("wb") as stderr:
            process = await self._run({**os.environ, **environ}, stderr)
        daemon = Daemon(process, errors)
        self._daemons.append(daemon)
        return daemon

    async def _run(self, environ: dict[str, str], stderr: IO[bytes]) -> Process:
        words = ("run", "--config", str(self.config))
        if not self.prefix:
            return await self._forks.run(*words, environ=environ, stderr=stderr)
        return await asyncio.create_subprocess_exec(
            *(*self.prefix, sys.executable, "-m", "reconciler", *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=environ,
            limit=LONGEST_LINE,
        )

    async def running(self, **environ: str) -> Daemon:
        """Start a daemon, wait until it is ready, and aim Assure's callbacks at it."""
        daemon = await (await self.start(**environ)).ready()
        self.simulator.aim(daemon.callback_url, AUTHORIZATION)
        return daemon

    async def command(self, *words: str, **environ: str) -> tuple[int, str, str]:
        """Run a command beside the daemon; returns exit code, stdout and stderr."""
        process = await self._forks.run(
            *words, "--config", str(self.config), environ={**os.environ, **environ}
        )
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Look into the store with the plain driver."""
        with closing(sqlite3.connect(self.store, timeout=30)) as connection:
            return connection.execute(query, values).fetchall()

    def stored_bytes(self) -> bytes:
        """Return every byte of the store's files."""
        return b"".join(path.read_bytes() for path in self.directory.glob("store.db*"))

    def write(self, statement: str) -> None:
        """Change the store behind the daemon's back."""
        with closing(sqlite3.connect(self.store, timeout=30)) as connection, connection:
            connection.execute(statement)

    @contextmanager
    def locked_store(self) -> Iterator[None]:
        """Hold the store's write lock, as a stuck program would."""
        with closing(sqlite3.connect(self.store, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that only a look from outside can tell."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        for daemon in self._daemons:
            await daemon.stop(signal.SIGKILL)


@asynccontextmanager
async def yard(directory: Path, faults: Faults, forks: Forks | None = None) -> AsyncIterator[Yard]:
    own = Forks()
    world = World(seed=11, faults=faults)
    log = structlog.wrap_logger(structlog.ReturnLogger(), processors=[lambda *_: ""])
    simulator = Simulator(world, log=log, client_secret=CLIENT_SECRET)
    await simulator.start()
    made = Yard(directory, simulator, world, forks or own)
    try:
        yield made
    finally:
        await made.close()
        await simulator.stop()
        own.close()


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
async def here(
    tmp_path: Path, empty_store: Path, faults: Faults, forks: Forks
) -> AsyncIterator[Yard]:
    async with yard(tmp_path, faults, forks) as made:
        shutil.copy(empty_store, made.store)
        yield made


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
        yield session


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A PostgreSQL of our own, to be treated badly, with a role that is nothing special."""
    with running_server(*FAST) as server:
        server.admin("CREATE ROLE ledger LOGIN")
        yield server


@pytest.fixture
def place(server: Server) -> Place:
    return Place(server)
