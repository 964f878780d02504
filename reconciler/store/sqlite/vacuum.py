"""Giving the room of what was removed back to the disk. Only SQLite needs it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.store.database import Database

INCREMENTAL = 2
"""What ``PRAGMA auto_vacuum`` says of a store that ``init-db`` has made. Another is left alone: to
change it, its whole file would have to be written anew."""

RESERVE = 1_000
"""Free pages (4 MB) that stay in any case; the next rows are put there."""

RESERVE_SHARE = 10
"""Beyond that, one page in so many may be free: what is given back has to be taken again."""


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
