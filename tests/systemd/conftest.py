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

from tests.e2e.conftest import (
    AUTHORIZATION,
    CLIENT_SECRET,
    PATIENCE,
    Daemon,
    Yard,
    client,
    faults,
    here,
)
from tests.systemd.box import Box, ImpossibleError

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


@pytest.fixture(scope="session")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A real systemd, for all tests of this worker."""
    try:
        made = Box(tmp_path_factory.mktemp("systemd"), ROOT)
    except ImpossibleError as error:
        pytest.skip(f"no real systemd here: {error}")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def bare_box(booted: Box) -> Iterator[Box]:
    """A real systemd with the program, and nothing else of ours."""
    booted.forget()
    yield booted
    booted.run("sh", "-c", REMOVE)


REMOVE = """
cd /
systemctl kill --signal=KILL reconciler.service
systemctl stop reconciler.socket reconciler.service
systemctl disable reconciler.socket reconciler.service
userdel reconciler
rm -rf /etc/systemd/system/* /etc/reconciler /var/lib/reconciler* /var/lib/private/reconciler*
rm -f /etc/sysusers.d/reconciler.conf
systemctl daemon-reload
systemctl reset-failed
exit 0
"""

INSTALL = """
install -d -m 0755 /etc/reconciler
install -d -m 0700 /etc/reconciler/credentials
cd /etc/reconciler/credentials
umask 077
printf '%s' "$1" > callback-authorization
printf '%s' "$2" > assure-client-secret
cd /srv/reconciler/systemd
install -m 0644 reconciler.service reconciler.socket /etc/systemd/system/
systemctl daemon-reload
"""

BOX_CONFIG = """
[listener]
authorization = [{ credential = "callback-authorization" }]
[assure]
base_url = "http://127.0.0.1:9"
token_url = "http://127.0.0.1:9/token"
client_id = "nobody"
client_secret = { credential = "assure-client-secret" }
[store]
url = "sqlite:////var/lib/reconciler/reconciler.db"
spool = "/var/lib/reconciler/spool"
"""


@pytest.fixture
def box(bare_box: Box) -> Box:
    """The same, with our units and a configuration; nothing of ours runs yet."""
    bare_box.run("sh", "-euc", INSTALL, "sh", AUTHORIZATION, CLIENT_SECRET)
    bare_box.write("/etc/reconciler/reconciler.toml", BOX_CONFIG)
    return bare_box


@pytest.fixture
def running(box: Box) -> Box:
    """The same, started and ready."""
    box.run("systemctl", "start", "reconciler.socket", "reconciler.service")
    return box
