"""Work that a cancellation does not cut in two.

A driver's call that is abandoned half-way goes on in its thread. SQLAlchemy then drops the
connection, and what it was doing can hold the database's one write lock for ever. So each call
is awaited to its end, and the cancellation is delivered after it.
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
    """Return what ``work`` returns; a cancellation meanwhile is raised when it has ended."""
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
        task.exception()  # seen: the cancellation tells more
    raise cancelled


class ShieldedConnection(AsyncConnection):
    """A connection each of whose statements is done or not begun."""

    async def execute(
        self, statement: Any, parameters: Any = None, *, execution_options: Any = None
    ) -> CursorResult[Any]:
        """Execute to the end."""
        work = super().execute(statement, parameters, execution_options=execution_options)
        return await shielded(work)

    async def exec_driver_sql(
        self, statement: str, parameters: Any = None, execution_options: Any = None
    ) -> CursorResult[Any]:
        """Execute to the end."""
        return await shielded(super().exec_driver_sql(statement, parameters, execution_options))


@asynccontextmanager
async def transaction(connection: ShieldedConnection) -> AsyncIterator[None]:
    """One transaction on ``connection``: over when the block is left, in whatever way."""
    try:
        await shielded(connection.begin().start())
        yield
        await shielded(connection.commit())
    except BaseException:
        await roll_back(connection)
        raise


async def roll_back(connection: ShieldedConnection) -> None:
    """Roll back what ``connection`` has begun; one that cannot is not used again."""
    try:
        await shielded(connection.rollback())
    except DBAPIError:
        await shielded(connection.invalidate())  # its state is unknown: take a new one
