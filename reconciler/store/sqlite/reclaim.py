"""What housekeeping does with the file and the WAL of a SQLite store.

It gives the pages of removed rows back to the disk, and empties the WAL after a ``forget``:
``secure_delete`` overwrites rows in the database with zeros, but until it is written anew the WAL
holds the pages as they were before. With another database it does nothing.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.store.database import Database
from reconciler.store.schema import timeline
from reconciler.store.sqlite.database import SqliteDatabase

INCREMENTAL = 2
"""What ``PRAGMA auto_vacuum`` says of a store that ``init-db`` has made. Another is left alone: to
change it, its whole file would have to be written anew."""

RESERVE = 1_000
"""Free pages (4 MB) that stay in any case; the next rows are put there."""

RESERVE_SHARE = 10
"""Beyond that, one page in so many may be free: what is given back has to be taken again."""

_NEWEST_FORGET = select(func.max(timeline.c.id)).where(
    timeline.c.process_id == "",
    timeline.c.event == "operator_action",
    timeline.c.fields.like('%"action":"forget"%'),
)


class FreePages:
    """The free pages of a SQLite file, but for a reserve: a stage of housekeeping."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, most: int) -> Sequence[Any] | None:
        """Return one number: how many pages to give back now."""
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
        """Move the last pages of the file into free ones, and cut the file."""
        driver: Any = (await connection.get_raw_connection()).driver_connection
        pages = min(rows, found[0])
        # A statement of Python's driver gives back one page and is not stepped on; a script is.
        # It commits the transaction, in which nothing was done, and is one of its own.
        await driver.executescript(f"PRAGMA incremental_vacuum({pages})")
        return Counter(pages=pages)


def small_checkpoints(database: Database) -> AbstractAsyncContextManager[None]:
    """Return a block in which much may be written without that others wait for a checkpoint."""
    if isinstance(database, SqliteDatabase):
        return database.small_checkpoints()
    return nullcontext()


class WalCleaner:
    """Empties the WAL once after each ``forget``, whoever called for it. The daemon's work."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._emptied_after: int | None = None
        """The newest forgetting after which the WAL was emptied; after a start it is once more."""

    async def clean(self) -> None:
        """Empty the WAL if something was forgotten; while somebody reads from it, later."""
        if not isinstance(self._database, SqliteDatabase):
            return
        async with self._database.read() as connection:
            newest = (await connection.execute(_NEWEST_FORGET)).scalar()
        if newest != self._emptied_after and await self._database.empty_wal():
            self._emptied_after = newest
