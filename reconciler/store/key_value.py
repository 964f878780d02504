"""Single values under a name, in the table ``facts``."""

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.store.database import Database
from reconciler.store.retry import retried
from reconciler.store.schema import facts
from reconciler.store.upsert import upsert

_GET = select(facts.c.value).where(facts.c.name == bindparam("name"))


class KeyValues:
    """The values of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> str | None:
        """Return the value of ``name``, or None."""
        async with self._database.read() as connection:
            value: str | None = await connection.scalar(_GET, {"name": name})
        return value

    @retried
    async def put(self, name: str, value: str) -> None:
        """Set ``name`` to ``value``."""
        async with self._database.write() as connection:
            await put(connection, name, value)


async def put(connection: AsyncConnection, name: str, value: str) -> None:
    """Set ``name`` to ``value``, in the caller's transaction."""
    await upsert(connection, facts, {"name": name, "value": value})
