"""Work that one daemon at a time does, however many share the store."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_TRY = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")


async def may_alone(connection: AsyncConnection, name: str) -> bool:
    """Tell whether the caller's transaction is the only one now that does what ``name`` says.

    True holds until the transaction ends; False means that another daemon is at it. SQLite has
    one daemon and one writer, so there a transaction on the writer is always alone.
    """
    if connection.dialect.name == "sqlite":
        return True
    return bool((await connection.execute(_TRY, {"name": f"reconciler.{name}"})).scalar())
