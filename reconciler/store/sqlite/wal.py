"""What maintenance does with SQLite's WAL. With another database it does nothing.

``secure_delete`` overwrites rows in the database with zeros. But until it is written anew the WAL
holds the pages as they were before.
"""

from contextlib import AbstractAsyncContextManager, nullcontext

from sqlalchemy import func, select

from reconciler.store.database import Database
from reconciler.store.schema import timeline
from reconciler.store.sqlite.database import SqliteDatabase

_NEWEST = select(func.max(timeline.c.id)).where(
    timeline.c.process_id == "",
    timeline.c.event == "operator_action",
    timeline.c.fields.like('%"action":"forget"%'),
)


def small_checkpoints(database: Database) -> AbstractAsyncContextManager[None]:
    """Return a block in which much may be written without that others wait for a checkpoint."""
    if isinstance(database, SqliteDatabase):
        return database.small_checkpoints()
    return nullcontext()


class WalCleaner:
    """Empties the WAL once after each ``forget``, whoever called for it. The daemon's work."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wiped: int | None = None
        """The newest forgetting after which the WAL was emptied; after a start it is once more."""

    async def wipe(self) -> None:
        """Empty the WAL if something was forgotten; while somebody reads from it, later."""
        if not isinstance(self._database, SqliteDatabase):
            return
        async with self._database.read() as connection:
            newest = (await connection.execute(_NEWEST)).scalar()
        if newest != self._wiped and await self._database.empty_wal():
            self._wiped = newest
