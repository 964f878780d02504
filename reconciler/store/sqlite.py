"""SQLite on disk: one writer, readers apart, and nothing acknowledged that fsync has not seen.

WAL with ``synchronous=FULL`` is durable at each commit; ``NORMAL`` is not.
https://www.sqlite.org/pragma.html#pragma_synchronous
"""

import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.turns import Turns

OLDEST_SQLITE = (3, 35, 0)
"""RETURNING and dependable upserts."""

WAL_RESET_MENDED = (3, 51, 3)
"""Below this a rare race between two writers can corrupt a WAL database.
https://www.sqlite.org/wal.html#walresetbug"""

BUSY_TIMEOUT = 2_500
"""Milliseconds to wait for another process's write; less than the 3 s after which we spool."""

CHECKPOINT_PAGES = 16_000
"""Pages of WAL between checkpoints: rarer checkpoints keep grouped inserts fast on large tables."""


class SqliteDatabase:
    """One SQLite file: a writer connection taken in turns, and a few readers."""

    dialect = "sqlite"

    def __init__(self, path: Path, *, checkpoints: bool) -> None:
        """``checkpoints``: only the daemon's writer moves the WAL into the database."""
        self.path = path
        self._pages = CHECKPOINT_PAGES if checkpoints else 0
        self._turns = Turns()
        self._writing = self._engine(size=1, begin="BEGIN IMMEDIATE", read_only=False)
        self._reading = self._engine(size=4, begin="BEGIN", read_only=True)
        self._writer: AsyncConnection | None = None

    async def open(self) -> None:
        """Connect the writer; StoreError with one clear line if the file is not usable."""
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old; 3.35 or newer is needed")
        try:
            self._writer = await self._writing.connect()
        except DBAPIError as error:
            raise StoreError(f"cannot open the store {self.path}: {error.orig}") from error

    async def durability(self) -> dict[str, str | bool]:
        """Return what the writer's connection really says about durability, for the boot log."""
        said: dict[str, str | bool] = {"path": str(self.path)}
        async with self.write() as connection:
            for pragma in ("journal_mode", "synchronous"):
                said[pragma] = str((await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar())
        said["synchronous"] = {"2": "full", "3": "extra"}.get(str(said["synchronous"]), "UNSAFE")
        said["sqlite_version"] = sqlite3.sqlite_version
        said["wal_reset_bug"] = sqlite3.sqlite_version_info < WAL_RESET_MENDED
        return said

    async def close(self) -> None:
        """Give all connections back; an open one would hang the interpreter's exit."""
        if self._writer is not None:
            await self._writer.close()
            self._writer = None
        await self._reading.dispose()
        await self._writing.dispose()

    @asynccontextmanager
    async def write(self, *, urgent: bool = False) -> AsyncIterator[AsyncConnection]:
        """One transaction on the writer. Keep it under 50 ms: the inbox waits behind it."""
        async with self._turns.turn(urgent=urgent):
            try:
                async with self._connection().begin():
                    yield self._connection()
            except DBAPIError as error:
                raise _translated(error) from error

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One consistent look at the last committed state."""
        try:
            async with self._reading.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise _translated(error) from error

    async def execute_many(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """One urgent transaction of one statement, through the driver's own connection.

        This is the path of every callback: SQLAlchemy's layers would cost a third of the rate.
        """
        async with self._turns.turn(urgent=True):
            raw = await self._connection().get_raw_connection()
            driver = raw.driver_connection
            if driver is None:
                raise StoreUnavailableError("the store is closed")
            try:
                await driver.execute("BEGIN IMMEDIATE")
                try:
                    await driver.executemany(statement, rows)
                    await driver.commit()
                except BaseException:
                    await driver.rollback()
                    raise
            except sqlite3.OperationalError as error:
                raise StoreUnavailableError(str(error)) from error
            except sqlite3.Error as error:
                raise StoreError(str(error)) from error

    def _connection(self) -> AsyncConnection:
        if self._writer is None:
            raise StoreUnavailableError("the store is closed")
        return self._writer

    def _engine(self, *, size: int, begin: str, read_only: bool) -> AsyncEngine:
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{self.path}", pool_size=size, max_overflow=0
        )

        def on_connect(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # or the driver begins a transaction of its own
            cursor = connection.cursor()
            for pragma in self._pragmas(read_only=read_only):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        def on_begin(connection: Any) -> None:
            connection.exec_driver_sql(begin)

        event.listen(engine.sync_engine, "connect", on_connect)
        event.listen(engine.sync_engine, "begin", on_begin)
        return engine

    def _pragmas(self, *, read_only: bool) -> tuple[str, ...]:
        common = (f"busy_timeout={BUSY_TIMEOUT}", "cache_size=-65536", "foreign_keys=ON")
        if read_only:
            return (*common, "query_only=ON")
        return (
            *common,
            "auto_vacuum=INCREMENTAL",  # takes effect only before the first table
            "journal_mode=WAL",
            "synchronous=FULL",
            f"wal_autocheckpoint={self._pages}",
            "journal_size_limit=67108864",
        )


def _translated(error: DBAPIError) -> StoreError:
    """Name the class of the trouble only: the driver's text can carry a row."""
    word = type(error.orig).__name__
    if isinstance(error.orig, sqlite3.OperationalError):
        return StoreUnavailableError(str(error.orig))  # "database is locked", "disk I/O error"
    return StoreError(word)


class DaemonLock:
    """The right to be the one daemon on a SQLite file; gone with the process that holds it."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".lock")
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take it, or raise StoreError that says who has it."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise StoreError(
                f"another daemon (process {holder}) uses {self._path.with_suffix('')}; "
                "several daemons need PostgreSQL"
            ) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._fd = fd

    def release(self) -> None:
        """Let it go; harmless if it is not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
