"""One suite for both databases: a real SQLite file, a real PostgreSQL, real processes.

Only the clock is played: every ``now`` is a number. A module about one database alone overrides the
fixture ``kind``.
"""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from reconciler.ledger import Lane, Registration, Rules, TrackedProcess
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store, open_store, prepare
from tests.clock import NOW
from tests.postgres import Databases

LEASE = 20_000
PATIENCE = 60
"""Seconds after which a child process or a task counts as hanging."""


@pytest.fixture
def path(tmp_path: Path, empty_store: Path) -> Path:
    """A closed SQLite store, alone in its directory."""
    directory = tmp_path / "var"
    directory.mkdir()
    return Path(shutil.copy(empty_store, directory / "store.db"))


@pytest.fixture(scope="session")
def postgres_template(databases: Databases) -> Iterator[str]:
    """The same on PostgreSQL: the name of its database."""
    name = databases.create()
    prepare(databases.url(name), may_create=True, may_migrate=True)
    yield name
    databases.drop(name)


@pytest.fixture
def database(databases: Databases, postgres_template: str) -> Iterator[str]:
    """A closed PostgreSQL store: the name of its database."""
    name = databases.create(postgres_template)
    yield name
    databases.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database that a test runs on."""
    return str(request.param)


@pytest.fixture
def url(request: pytest.FixtureRequest, kind: str) -> str:
    """The URL of a closed store."""
    if kind == "sqlite":
        return f"sqlite:///{request.getfixturevalue('path')}"
    databases: Databases = request.getfixturevalue("databases")
    return databases.url(request.getfixturevalue("database"))


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """The same store, opened as by the daemon."""
    opened = await open_store(url, is_daemon=True)
    yield opened
    await opened.database.close()


@pytest.fixture
def rules() -> Rules:
    return Rules()


@pytest.fixture
def late(rules: Rules) -> int:
    """The moment at which a process registered at NOW has timed out."""
    return NOW + rules.default.callback_timeout


@pytest.fixture
def look(request: pytest.FixtureRequest, kind: str) -> Callable[..., list[tuple[Any, ...]]]:
    """Run one statement on a connection of its own, as another program would."""
    if kind == "sqlite":
        path = request.getfixturevalue("path")

        def look(sql: str, *values: object) -> list[tuple[Any, ...]]:
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                return connection.execute(sql, values).fetchall()

        return look
    databases: Databases = request.getfixturevalue("databases")
    name = request.getfixturevalue("database")
    return lambda sql, *values: databases.look(name, sql.replace("?", "%s"), values or None)


@pytest.fixture
def receipt() -> Callable[..., Receipt]:
    """Build a receipt with a new id."""
    numbers = count(1)

    def receipt(
        process_id: str = "p1", status: str = "accepted", *, at: int = NOW, dossier_id: str = "d1"
    ) -> Receipt:
        number = next(numbers)
        return Receipt(f"{number:032x}", at, process_id, dossier_id, status, (), b"\0" * 32)

    return receipt


@pytest.fixture
def registrations() -> Callable[[int], list[Registration]]:
    """Build the registrations of p0, p1, ... in dossiers d0, d1, ..."""

    def registrations(number: int) -> list[Registration]:
        return [Registration(f"p{i}", f"d{i}") for i in range(number)]

    return registrations


@pytest.fixture
def children() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start Python programs; the test's end kills them."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: object) -> "subprocess.Popen[str]":
        child = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


async def claim(
    store: Store,
    rules: Rules,
    now: int,
    most: int = 100,
    *,
    lanes: tuple[Lane, ...] = (Lane.CONFIRM, Lane.OVERDUE),
    owner: str = "one",
    skip: str = "",
) -> list[TrackedProcess]:
    return await store.work.claim(
        lanes, most, owner=owner, rules=rules, now=now, length=LEASE, skip=skip
    )


def ids_of(processes: list[TrackedProcess]) -> list[str]:
    return [process.process_id for process in processes]


async def register(store: Store, rules: Rules, batch: list[Registration], at: int = NOW) -> None:
    await store.registry.register(batch, rules, at, whole=True)


async def overdue(store: Store, rules: Rules, batch: list[Registration], at: int = NOW) -> None:
    """Register ``batch`` at ``at`` and let its time-out pass."""
    await register(store, rules, batch, at)
    await store.work.turn_overdue(rules, at + rules.default.callback_timeout, len(batch))


async def call_back(store: Store, rules: Rules, callback: Receipt) -> None:
    await store.inbox.put_many([callback])
    await store.inbox.apply([callback], rules, callback.received_at)


async def get(store: Store, process_id: str) -> TrackedProcess:
    process = await store.views.process(process_id)
    assert process is not None
    return process
