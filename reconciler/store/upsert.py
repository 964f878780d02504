"""INSERT … ON CONFLICT DO UPDATE, which SQLAlchemy has only in each database's own dialect."""

from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


async def upsert(connection: AsyncConnection, table: Table, row: dict[str, Any]) -> None:
    """Insert ``row``, or replace the values of the one with the same primary key."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(table).values(row)
    key = list(table.primary_key.columns)
    await connection.execute(statement.on_conflict_do_update(index_elements=key, set_=row))
