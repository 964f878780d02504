"""Single values to remember, in the caller's transaction."""

from collections.abc import Mapping

from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.store.schema import facts


def insert_into(table: Table, connection: AsyncConnection) -> PostgresInsert | SqliteInsert:
    """Return the INSERT of the connection's database, which knows ON CONFLICT."""
    if connection.dialect.name == "sqlite":
        return sqlite_insert(table)
    return postgresql_insert(table)


async def remember(connection: AsyncConnection, values: Mapping[str, str]) -> None:
    """Remember ``values`` from now on, in the order of their names."""
    rows = [{"name": name, "value": value} for name, value in sorted(values.items())]
    upsert = insert_into(facts, connection).values(rows)
    upsert = upsert.on_conflict_do_update(
        index_elements=["name"], set_={"value": upsert.excluded.value}
    )
    await connection.execute(upsert)
