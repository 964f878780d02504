"""Locks between the daemons on one store, held until the end of a transaction.

The reasons: docs/decisions/010.
"""

from collections.abc import Iterable
from zlib import crc32

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_NAMESPACE = 0x7265636B
"""The first number of our locks on keys, so that they differ from another program's."""

_SLOTS = 64
"""Locks that all keys share, so that many new keys do not fill the server's lock table."""

_LOCK = text(
    "SELECT pg_advisory_xact_lock(:namespace, slot) FROM unnest(CAST(:slots AS int[])) slot"
)
_TRY = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
_WAIT = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


async def try_lock(connection: AsyncConnection, name: str) -> bool:
    """Take the lock ``name`` for the caller's transaction; False where another daemon holds it.

    On SQLite it is always free, for there is one daemon and one writer.
    """
    if connection.dialect.name == "sqlite":
        return True
    return bool((await connection.execute(_TRY, {"name": f"reconciler.{name}"})).scalar())


async def wait_for_lock(connection: AsyncConnection, name: str) -> None:
    """Take the lock ``name`` for the caller's transaction, as soon as it is free.

    Later statements see what the holder before has committed. On SQLite it is always free.
    """
    if connection.dialect.name != "sqlite":
        await connection.execute(_WAIT, {"name": f"reconciler.{name}"})


async def lock_keys(connection: AsyncConnection, keys: Iterable[str]) -> None:
    """Lock ``keys`` for the caller's transaction: no other one inserts a row under them meanwhile.

    A missing row cannot be locked. Two transactions that find none would both insert it, or one
    would insert it while the other records that there is none.
    """
    if connection.dialect.name == "sqlite":
        return
    slots = sorted({crc32(key.encode("utf-8", "replace")) % _SLOTS for key in keys})
    await connection.execute(_LOCK, {"namespace": _NAMESPACE, "slots": slots})
