"""A SQLite file: one writer, separate readers, and every commit fsynced.

WAL with ``synchronous=FULL`` is durable at each commit; ``NORMAL`` is not.
https://www.sqlite.org/pragma.html#pragma_synchronous

The reasons: docs/decisions/006.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Column, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from reconciler.runtime.disk import name_of, space_of
from reconciler.store.bulk import bulk_inserts
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.shielded import ShieldedConnection, shielded, transaction
from reconciler.store.sqlite.connection import connect_to
from reconciler.store.sqlite.identity import FileIdentity
from reconciler.store.sqlite.priority_lock import PriorityLock

WAL_RESET_MENDED = (3, 51, 3)
"""Below this a rare race of two writers can corrupt a WAL database.
https://www.sqlite.org/wal.html#walresetbug"""

BUSY_TIMEOUT = 2_500
"""Milliseconds to wait for another process's write; less than the 3 s after which we spool."""

READER_PATIENCE = 30
"""Milliseconds for which emptying the WAL waits for readers, and callbacks for it."""

READERS = 4
WRITER_CACHE = 32_768
READER_CACHE = 4_096
"""KiB of pages that a connection caches."""

CHECKPOINT_PAGES = 16_000
"""Pages of WAL between checkpoints: rarer checkpoints keep grouped inserts fast on large tables."""
FEWEST_PAGES = 100
PAGE = 4096
"""Bytes of a page: SQLite's default."""

SMALL_CHECKPOINT_PAGES = 1_000
"""During bulk work, for a usual checkpoint holds the writer for some 100 ms."""


LEAST_ROOM = 1024 * 1024
"""Bytes that must be free before a full disk counts as one that has room again."""


class SqliteDatabase:
    """One SQLite file: a writer connection behind a lock, and a few readers."""

    dialect = "sqlite"

    def __init__(self, path: Path, *, checkpoints: bool, read_only: bool = False) -> None:
        """``checkpoints``: only the daemon's writer moves the WAL into the database.

        ``read_only``: there is no writer, and what would write is a StoreError.
        """
        self.path = path
        self._read_only = read_only
        self._is_open = False
        self._pages = _checkpoint_pages(path.parent) if checkpoints else 0
        self._files = FileIdentity(path, with_wal=checkpoints)
        self._writer_lock = PriorityLock()
        self._free_readers = asyncio.Semaphore(READERS)
        self._write_engine = self._engine(size=1, begin="BEGIN IMMEDIATE", read_only=False)
        self._read_engine = self._engine(size=READERS, begin="BEGIN", read_only=True)
        self._writer: ShieldedConnection | None = None

    async def open(self) -> None:
        """Connect, the writer if there is one; StoreError with one line if the file is unusable."""
        first = ShieldedConnection(self._read_engine if self._read_only else self._write_engine)
        try:
            with _translate_errors():
                await shielded(first.start())
        except StoreError as error:
            raise StoreError(f"cannot open the store {self.path}: {error}") from error
        self._files.check()
        self._is_open = True
        if self._read_only:
            await shielded(first.close())  # back into the pool of readers
        else:
            self._writer = first

    def mark_prepared(self) -> None:
        """Do nothing: without a prepared file the daemon does not start."""

    async def durability(self) -> dict[str, str | bool]:
        """Return the writer's real settings of durability, for the boot log."""
        settings: dict[str, str | bool] = {"path": str(self.path)}
        async with self.write() as connection:
            for pragma in ("journal_mode", "synchronous"):
                settings[pragma] = str(
                    (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar()
                )
        settings["synchronous"] = {"2": "full", "3": "extra"}.get(
            str(settings["synchronous"]), "UNSAFE"
        )
        settings["sqlite_version"] = sqlite3.sqlite_version
        settings["wal_reset_bug"] = sqlite3.sqlite_version_info < WAL_RESET_MENDED
        return settings

    async def close(self) -> None:
        """Close all connections after running transactions; an open one would leak its thread."""
        async with self._writer_lock.hold(urgent=True):
            if not self._is_open:
                return
            self._is_open = False
            writer, self._writer = self._writer, None
            if writer is not None:
                await shielded(writer.close())
        for _ in range(READERS):
            await self._free_readers.acquire()
        await shielded(self._read_engine.dispose())
        await shielded(self._write_engine.dispose())
        for _ in range(READERS):
            self._free_readers.release()

    @asynccontextmanager
    async def write(self, *, urgent: bool = False) -> AsyncIterator[AsyncConnection]:
        """Open a transaction on the writer. Keep it under 50 ms: the inbox waits for it."""
        async with self._writer_lock.hold(urgent=urgent):
            connection = self._open_writer()
            with _translate_errors():
                async with transaction(connection):
                    yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that reads one consistent state."""
        async with self._free_readers:
            self._check_open()
            connection = ShieldedConnection(self._read_engine)
            with _translate_errors():
                try:
                    await shielded(connection.start())
                    async with transaction(connection):
                        yield connection
                finally:
                    if connection.sync_connection is not None:
                        await shielded(connection.close())

    async def insert_new(
        self, columns: Sequence[Column[Any]], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert ``rows`` in one urgent transaction, through the driver's own connection.

        Every callback takes this path: SQLAlchemy would cost a third of the rate.
        """
        names = ", ".join(column.name for column in columns)
        marks = ", ".join("?" * len(columns))
        table = columns[0].table.name
        statement = f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608 (constants)
        async with self._writer_lock.hold(urgent=True):
            connection = self._opened_writer()
            with _translate_errors():
                await shielded(_execute_many(connection, statement, rows))
            self._files.check()  # or what was committed may be in no file

    @asynccontextmanager
    async def small_checkpoints(self) -> AsyncIterator[None]:
        """Make checkpoints small during the block, in which much is written."""
        if not self._pages:
            yield
            return
        await self._checkpoint_every(SMALL_CHECKPOINT_PAGES)
        try:
            yield
        finally:
            with suppress(StoreError):  # a new connection has the usual size
                await self._checkpoint_every(self._pages)

    async def _checkpoint_every(self, pages: int) -> None:
        async with self._writer_lock.hold():
            connection = self._open_writer()
            with _translate_errors():
                await shielded(_pragma(connection, f"wal_autocheckpoint={pages}"))

    async def empty_wal(self) -> bool:
        """Move the whole WAL into the database and truncate it.

        False where another connection reads from it, and where we do no checkpoints.
        """
        if not self._pages:
            return False
        async with self._writer_lock.hold():
            connection = self._open_writer()
            with _translate_errors():
                return await shielded(_empty_wal(connection))

    async def check_identity(self) -> None:
        """Raise StoreUnavailableError where the files were removed or replaced."""
        self._check_open()

    async def check_room(self) -> None:
        """Raise StoreUnavailableError where the next writes would fill the disk.

        A single small one may still find its place in the WAL.
        """
        try:
            space = await asyncio.to_thread(space_of, self.path.parent)
        except OSError as error:
            raise StoreUnavailableError(name_of(error)) from error
        if space.free < LEAST_ROOM:
            raise StoreUnavailableError("the disk is full")

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailableError("the store is closed")
        self._files.check()

    def _open_writer(self) -> ShieldedConnection:
        writer = self._opened_writer()
        self._files.check()
        return writer

    def _opened_writer(self) -> ShieldedConnection:
        if not self._is_open:
            raise StoreUnavailableError("the store is closed")
        if self._writer is None:
            raise StoreError("the store was opened only to read")
        return self._writer

    def _engine(self, *, size: int, begin: str, read_only: bool) -> AsyncEngine:
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(self.path.absolute())),
            async_creator=connect_to(
                self.path.absolute(), only_reads=read_only and self._read_only
            ),
            pool_size=size,
            max_overflow=0,
            pool_use_lifo=True,  # the one whose cache is warm
            hide_parameters=True,  # or the text of an error carries the row
        )

        def on_connect(connection: Any, _record: Any) -> None:
            self._files.opened(connection.driver_connection)
            connection.isolation_level = None  # or the driver begins a transaction of its own
            cursor = connection.cursor()
            try:
                for pragma in self._pragmas(read_only=read_only):
                    cursor.execute(f"PRAGMA {pragma}")
            except sqlite3.Error:
                connection.close()
                raise
            cursor.close()

        def on_begin(connection: Any) -> None:
            connection.exec_driver_sql(begin)

        event.listen(engine.sync_engine, "connect", on_connect)
        event.listen(engine.sync_engine, "begin", on_begin)
        event.listen(engine.sync_engine, "do_executemany", _insert_in_bulk)
        return engine

    def _pragmas(self, *, read_only: bool) -> tuple[str, ...]:
        common = (f"busy_timeout={BUSY_TIMEOUT}", "foreign_keys=ON")
        if read_only:
            return (*common, f"cache_size={-READER_CACHE}", "query_only=ON")
        return (
            *common,
            f"cache_size={-WRITER_CACHE}",
            "secure_delete=ON",  # removed rows leave no bytes behind
            "journal_mode=WAL",
            "synchronous=FULL",
            f"wal_autocheckpoint={self._pages}",
            "journal_size_limit=67108864",
        )


def _checkpoint_pages(directory: Path) -> int:
    """Return how many pages the WAL may have: at most an eighth of the free disk.

    A WAL that has filled the disk cannot be moved into the database, which has to grow for that:
    a small disk would stay full with hardly any data.
    """
    return min(CHECKPOINT_PAGES, max(space_of(directory).free // 8 // PAGE, FEWEST_PAGES))


async def _execute_many(
    connection: ShieldedConnection, statement: str, rows: Sequence[tuple[Any, ...]]
) -> None:
    driver: Any = (await connection.get_raw_connection()).driver_connection
    steps = bulk_inserts(statement, rows)

    def work(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        if steps is None:
            connection.executemany(statement, rows)
        else:
            for step, values in steps:
                connection.execute(step, values)
        connection.commit()

    try:
        await driver.run(work)
    except BaseException:
        try:
            await driver.rollback()
        except (sqlite3.Error, ValueError) as broken:  # aiosqlite's ValueError: it has died
            await connection.invalidate()
            raise StoreUnavailableError("the connection was lost") from broken
        raise


async def _pragma(connection: ShieldedConnection, pragma: str) -> None:
    """Set a pragma outside of any transaction."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.execute(f"PRAGMA {pragma}")


async def _empty_wal(connection: ShieldedConnection) -> bool:
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await _pragma(connection, f"busy_timeout={READER_PATIENCE}")
    try:
        async with driver.execute("PRAGMA wal_checkpoint(TRUNCATE)") as cursor:
            is_busy, *_ = await cursor.fetchone()
            return not is_busy
    finally:
        await _pragma(connection, f"busy_timeout={BUSY_TIMEOUT}")


def _insert_in_bulk(cursor: Any, statement: str, rows: Any, _context: Any) -> bool:
    """Insert ``rows`` in bulk: a hook that SQLAlchemy calls before the driver's executemany."""
    steps = bulk_inserts(statement, rows)
    if steps is None:
        return False
    for step, values in steps:
        cursor.execute(step, values)
    return True


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Turn the errors of SQLite, its driver and SQLAlchemy into StoreErrors."""
    try:
        yield
    except DBAPIError as error:
        raise _store_error(error.orig) from error
    except (sqlite3.Error, UnicodeError, OverflowError) as error:
        raise _store_error(error) from error


def _store_error(error: BaseException | None) -> StoreError:
    """Return StoreUnavailableError for trouble of the store, StoreError for a refused row.

    The text of the latter can hold a value, so only its name is kept.
    """
    if type(error) in (sqlite3.OperationalError, sqlite3.DatabaseError):
        return StoreUnavailableError(str(error))  # "database is locked", "disk I/O error"
    return StoreError(getattr(error, "sqlite_errorname", type(error).__name__))
