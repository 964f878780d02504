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
    """Tell whether the caller's transaction is the only one now that does what ``name`` says.

    True holds until the transaction ends; False means that another daemon is at it. SQLite has
    one daemon and one writer, so there a transaction on the writer is always alone.
    """
    if connection.dialect.name == "sqlite":
        return True
    return bool((await connection.execute(_TRY, {"name": f"reconciler.{name}"})).scalar())


async def wait_for_lock(connection: AsyncConnection, name: str) -> None:
    """Wait until the caller's transaction is the only one that does what ``name`` says.

    A statement after this sees what the one before has committed. Nothing to wait for on SQLite.
    """
    if connection.dialect.name != "sqlite":
        await connection.execute(_WAIT, {"name": f"reconciler.{name}"})


async def lock_keys(connection: AsyncConnection, keys: Iterable[str]) -> None:
    """Let no other transaction insert a row under one of ``keys`` until the caller's has ended.

    A row that is not there cannot be locked. Two that both find none would both insert it, or
    one would insert it while the other writes down that there is none.
    """
    if connection.dialect.name == "sqlite":
        return
    slots = sorted({crc32(key.encode("utf-8", "replace")) % _SLOTS for key in keys})
    await connection.execute(_LOCK, {"namespace": _NAMESPACE, "slots": slots})
