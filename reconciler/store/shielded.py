"""Shields a transaction's calls from cancellation.

A driver's call that is abandoned goes on in its thread. SQLAlchemy then drops the connection, and
its transaction can hold SQLite's one write lock for ever. So each call is awaited to its end, and
the cancellation is raised after it.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import CursorResult
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")


async def shielded(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``; a cancellation meanwhile is raised when it has ended."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # marked as seen: the cancellation replaces it
    raise cancelled


class ShieldedConnection(AsyncConnection):
    """A connection whose statements are never abandoned half-way."""

    async def execute(
        self, statement: Any, parameters: Any = None, *, execution_options: Any = None
    ) -> CursorResult[Any]:
        """Execute, and wait for the end."""
        work = super().execute(statement, parameters, execution_options=execution_options)
        return await shielded(work)

    async def exec_driver_sql(
        self, statement: str, parameters: Any = None, execution_options: Any = None
    ) -> CursorResult[Any]:
        """Execute, and wait for the end."""
        return await shielded(super().exec_driver_sql(statement, parameters, execution_options))


@asynccontextmanager
async def transaction(connection: ShieldedConnection) -> AsyncIterator[None]:
    """Run a transaction on ``connection``: committed, or rolled back after any exception."""
    try:
        await shielded(connection.begin().start())
        yield
        await shielded(connection.commit())
    except BaseException:
        await roll_back(connection)
        raise


async def roll_back(connection: ShieldedConnection) -> None:
    """Roll ``connection`` back; one that cannot is not used again."""
    try:
        await shielded(connection.rollback())
    except DBAPIError:
        await shielded(connection.invalidate())  # its state is unknown
