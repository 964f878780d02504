"""Returns a SQLite file's free pages to the disk, and empties its WAL after a ``forget``.

``secure_delete`` overwrites removed rows in the database with zeros, but the WAL holds the pages as
they were until it is overwritten. With another database nothing here does anything.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.store.database import Database
from reconciler.store.schema import actions
from reconciler.store.sqlite.database import SqliteDatabase

INCREMENTAL = 2
"""``PRAGMA auto_vacuum`` of a store that ``init-db`` has made. Others are left alone: to change it
would rewrite the whole file."""

RESERVE = 1_000
"""Free pages (4 MB) that are kept for the next rows."""

RESERVE_SHARE = 10
"""At least one page in so many is kept, too."""

_NEWEST_FORGET = select(func.max(actions.c.id)).where(actions.c.action == "forget")


class FreePages:
    """A stage of housekeeping: the free pages of a SQLite file, but for a reserve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, most: int) -> Sequence[Any] | None:
        """Return the number of pages to return now, as one member; None where there are none."""
        if self._database.dialect != "sqlite":
            return None
        async with self._database.read() as connection:
            mode, free, pages = [
                (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
                for name in ("auto_vacuum", "freelist_count", "page_count")
            ]
        spare = free - max(RESERVE, pages // RESERVE_SHARE)
        return [min(most, spare)] if mode == INCREMENTAL and spare > 0 else None

    async def remove(
        self, connection: AsyncConnection, found: Sequence[Any], rows: int
    ) -> Counter[str]:
        """Move the last pages of the file into free ones, and truncate it."""
        driver: Any = (await connection.get_raw_connection()).driver_connection
        pages = min(rows, found[0])
        # Python's driver takes one step of a statement, which frees one page; a script runs to its
        # end. It commits the transaction, which is empty, and is one of its own.
        await driver.executescript(f"PRAGMA incremental_vacuum({pages})")
        return Counter(pages=pages)


def small_checkpoints(database: Database) -> AbstractAsyncContextManager[None]:
    """Return a block in which checkpoints are small, so that nobody waits long for one."""
    if isinstance(database, SqliteDatabase):
        return database.small_checkpoints()
    return nullcontext()


class WalCleaner:
    """Empties the WAL once after each ``forget``, by whatever command. The daemon runs it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._emptied_after: int | None = None
        """The newest ``forget`` after which the WAL was emptied; None at the start."""

    async def clean(self) -> None:
        """Empty the WAL if something was forgotten; the next time, if somebody reads from it."""
        if not isinstance(self._database, SqliteDatabase):
            return
        async with self._database.read() as connection:
            newest = (await connection.execute(_NEWEST_FORGET)).scalar()
        if newest != self._emptied_after and await self._database.empty_wal():
            self._emptied_after = newest
