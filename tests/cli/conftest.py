"""A configuration with a store of its own, and two ways to run a command on it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import main

LIMIT = 60.0
"""Seconds that any child may take, on the slowest machine."""


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def said(self) -> list[str]:
        """Its words to a person, without the log lines between."""
        return [line for line in self.err.splitlines() if not line.startswith("{")]

    @property
    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]


@dataclass(frozen=True)
class Place:
    """A directory with a configuration; the store need not be there yet."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "reconciler.toml"

    @property
    def store(self) -> Path:
        return self.path / "ledger.db"

    def query(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.store)) as connection:
            return connection.execute(sql).fetchall()

    def execute(self, sql: str) -> None:
        with closing(sqlite3.connect(self.store)) as connection, connection:
            connection.execute(sql)

    def actions(self) -> list[tuple[str, str, str | None, dict[str, Any]]]:
        rows = self.query("SELECT action, actor, process_id, fields FROM actions ORDER BY id")
        return [(*row[:3], json.loads(row[3])) for row in rows]

    def timeline(self, process_id: str) -> list[tuple[str, dict[str, Any]]]:
        rows = self.query("SELECT process_id, event, fields FROM timeline ORDER BY id")
        return [(event, json.loads(fields)) for key, event, fields in rows if key == process_id]


CONFIG = """\
[admin]
listen = "127.0.0.1:0"
[assure]
client_id = "client"
client_secret = "canary-client-secret"
[store]
url = "sqlite:///{path}/ledger.db"
spool = "{path}/spool"
"""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A configuration without a store."""
    place = Place(tmp_path)
    place.config.write_text(CONFIG.format(path=tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("RECONCILER_"):
            monkeypatch.delenv(name)
    for name in ("CREDENTIALS_DIRECTORY", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RECONCILER_CONFIG", str(place.config))
    return place


@pytest.fixture
def place(bare: Place, empty_store: Path) -> Place:
    """A configuration with an empty store."""
    shutil.copy(empty_store, bare.store)
    return bare


Command = Callable[..., Ran]


@pytest.fixture
def reconciler(bare: Place, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process; it may not leave a traceback, nor data beside its answer."""

    def run(*arguments: str) -> Ran:
        capfd.readouterr()
        code = 0
        try:
            main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Ran(code, out, err)

    return run


@pytest.fixture
def child(bare: Place) -> Command:
    """Run a command as a user does."""

    def run(*arguments: str | bytes, stdin: bytes = b"", env: dict[str, str] | None = None) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *arguments],
            input=stdin,
            capture_output=True,
            timeout=LIMIT,
            check=False,
            env={**os.environ, **(env or {})},
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in err
        return Ran(done.returncode, out, err)

    return run


Terminal = Callable[..., tuple[int, str]]


@pytest.fixture
def terminal(bare: Place) -> Iterator[Terminal]:
    """Run a command with a terminal as its stdout and stderr; return code and what was shown."""
    import pty  # noqa: PLC0415 (not on every platform)

    def run(*arguments: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        started = subprocess.Popen(
            [sys.executable, "-m", "reconciler", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
        )
        os.close(theirs)
        shown = b""
        try:
            while chunk := _read(ours):
                shown += chunk
            return started.wait(LIMIT), shown.decode()
        finally:
            os.close(ours)
            started.kill()
            started.wait()

    yield run


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # EIO: nobody has the other side open any more
        return b""
