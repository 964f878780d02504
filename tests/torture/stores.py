"""The stores under torture: how each is reached, made unavailable, and looked at after a death."""

import fcntl
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
)
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from sqlalchemy import make_url

from reconciler.store.maintenance.check import StoreCheck, damage
from reconciler.store.open import open_store
from tests.postgres import Databases
from tests.torture.relay import CommitDeath, Relay, relay_to

Rows = list[Any]

WAL_WRITE_LOCK = 120
"""The byte of the WAL's index whose lock is that of the writer.
https://www.sqlite.org/walformat.html#wal_locks"""


class TorturedStore(Protocol):
    """A store of one daemon."""

    url: str
    """How the daemon reaches it."""

    def arm(self, death: CommitDeath | None, kill: Callable[[], None]) -> None:
        """Call ``kill`` at the commit of ``death``, where this store can."""

    def unavailable(self) -> AbstractContextManager[None]:
        """Let the daemon not use it during the block."""

    def rows(self, *queries: str) -> list[Rows]:
        """Look into it while the daemon runs."""

    def remains(self, *queries: str) -> list[Rows]:
        """Look into it after the daemon has died, and change nothing."""

    async def findings(self) -> Sequence[Any]:
        """Return the findings of check-db."""


class SqliteStore:
    """A SQLite file."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "store.db"
        self.url = f"sqlite:///{self._file}"

    def arm(self, death: CommitDeath | None, kill: Callable[[], None]) -> None:
        """Do nothing: ``SyncDeath`` is for files."""

    @contextmanager
    def unavailable(self) -> Iterator[None]:
        # The lock alone: a connection would move the WAL into the database when it is closed.
        with self._file.with_name(f"{self._file.name}-shm").open("r+b") as index:
            fcntl.lockf(index, fcntl.LOCK_EX, 1, WAL_WRITE_LOCK)
            yield

    def rows(self, *queries: str) -> list[Rows]:
        with closing(sqlite3.connect(self._file, timeout=30)) as connection:
            return [connection.execute(query).fetchall() for query in queries]

    def remains(self, *queries: str) -> list[Rows]:
        with TemporaryDirectory() as made:
            for path in self._file.parent.glob("store.db*"):
                if not path.name.endswith("-shm"):
                    shutil.copy(path, made)
            with closing(sqlite3.connect(Path(made) / self._file.name)) as connection:
                for (line,) in connection.execute("PRAGMA integrity_check"):
                    assert line == "ok", f"the file is damaged: {line}"
                if not connection.execute("SELECT 1 FROM sqlite_schema").fetchall():
                    return [[] for _ in queries]  # it died before there were tables
                return [connection.execute(query).fetchall() for query in queries]

    async def findings(self) -> Sequence[Any]:
        return [*damage(self._file), *await _findings(self.url)]


class PostgresStore:
    """A database on a server that lives on, reached through a relay."""

    def __init__(self, databases: Databases, database: str, relay: Relay) -> None:
        self._databases = databases
        self._database = database
        self._relay = relay
        direct = make_url(databases.url(database))
        self.url = direct.set(host="127.0.0.1", port=relay.port).render_as_string(
            hide_password=False
        )

    def arm(self, death: CommitDeath | None, kill: Callable[[], None]) -> None:
        self._relay.arm(death, kill)

    def unavailable(self) -> AbstractContextManager[None]:
        return self._relay.refusing()

    def rows(self, *queries: str) -> list[Rows]:
        return [self._databases.look(self._database, query) for query in queries]

    def remains(self, *queries: str) -> list[Rows]:
        found = self._databases.look(self._database, "SELECT to_regclass('processes') IS NULL")
        return [[] for _ in queries] if found == [(True,)] else self.rows(*queries)

    async def findings(self) -> Sequence[Any]:
        return await _findings(self._databases.url(self._database))


@asynccontextmanager
async def postgres_store(databases: Databases) -> AsyncIterator[PostgresStore]:
    """Make a database for a daemon."""
    server = make_url(databases.url("postgres"))
    database = databases.create()
    async with relay_to(server.host or "127.0.0.1", server.port or 5432) as relay:
        try:
            yield PostgresStore(databases, database, relay)
        finally:
            databases.drop(database)


async def _findings(url: str) -> Sequence[Any]:
    store = await open_store(url, is_daemon=False, read_only=True)
    try:
        check = StoreCheck(store.database)
        found: list[Any] = [*await check.schema()]
        async for page in check.pages():
            found += page
        return found
    finally:
        await store.database.close()
