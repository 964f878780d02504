"""The daemon under a service manager: a played one, or a real systemd."""

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e.conftest import PATIENCE, Daemon, Yard, client, faults, here

__all__ = ["client", "faults", "here"]  # fixtures of the daemon as its users run it

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"

LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""Becomes the daemon, with the socket as descriptor 3 and its own process id in LISTEN_PID."""


class Manager:
    """The notify socket of a service manager, read by a thread as systemd reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._messages: list[str] = []
        self._news = threading.Condition()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while message := self._socket.recv(4096):
            with self._news:
                self._messages.append(message.decode())
                self._news.notify_all()

    @property
    def messages(self) -> list[str]:
        with self._news:
            return list(self._messages)

    def forget(self) -> None:
        """Count from here."""
        with self._news:
            self._messages.clear()

    async def told(self, message: str, count: int = 1) -> list[str]:
        """Wait until ``message`` has come so often; return all that came."""
        return await asyncio.to_thread(self._told, message, count)

    def _told(self, message: str, count: int) -> list[str]:
        with self._news:
            came = self._news.wait_for(lambda: self._messages.count(message) >= count, PATIENCE)
            assert came, f"{message} was not told; but {self._messages}"
            return list(self._messages)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))  # ends the thread
        self._thread.join(PATIENCE)
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


class Activated:
    """Starts daemons of one yard on one listening socket, as a service manager does."""

    def __init__(self, yard: Yard, manager: Manager) -> None:
        self._yard = yard
        self._manager = manager
        self._daemons: list[Daemon] = []
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=1024)

    @property
    def url(self) -> str:
        host, port = self.listening.getsockname()
        return f"http://{host}:{port}"

    async def start(self, *, name: str = "callbacks", **environ: str) -> Daemon:
        """Start the daemon with the socket as descriptor 3; does not wait for it."""
        words = ["-m", "reconciler", "run", "--config", str(self._yard.config)]
        launch = [sys.executable, "-c", LAUNCH, str(self.listening.fileno()), *words]
        return await self.run(launch, name, **environ)

    async def run(self, command: Sequence[str], name: str, **environ: str) -> Daemon:
        errors = self._yard.directory / f"stderr-{len(self._daemons)}"
        told = {"NOTIFY_SOCKET": str(self._manager.path), "LISTEN_FDS": "1", "LISTEN_FDNAMES": name}
        with errors.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **told, **environ},
                pass_fds=[self.listening.fileno()],
                limit=1024 * 1024,
            )
        daemon = Daemon(process, errors)
        self._daemons.append(daemon)
        return daemon

    async def close(self) -> None:
        for daemon in self._daemons:
            if daemon.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    daemon.process.kill()
            await daemon.stop()
        self.listening.close()


@pytest.fixture
async def activated(here: Yard, manager: Manager) -> AsyncIterator[Activated]:
    made = Activated(here, manager)
    yield made
    await made.close()
