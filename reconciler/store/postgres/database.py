"""A PostgreSQL database, shared by several daemons, also behind PgBouncer in transaction mode.

So there is no session state: no prepared statement, no setting but by SET LOCAL, no session lock.
Each transaction ends within a limit: the server has time-outs, and where it does not answer at all
we cut the connection.

The reasons: docs/decisions/008 and docs/decisions/009.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import URL, Column, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from reconciler.store.errors import StoreUnavailableError
from reconciler.store.postgres.errors import is_read_only, translate_errors
from reconciler.store.shielded import ShieldedConnection, roll_back, shielded

WRITERS = 2
READERS = 2
"""Connections of one daemon, beside that of the inbox: a server has some hundred for all."""

URGENT_LIMIT = 2.5
"""Seconds for a transaction of the inbox on its connection: below the 3 s to the spool."""

LIMIT = 8.0
"""Seconds for any other transaction."""

DRIVER = {
    "autocommit": True,  # or the driver begins transactions itself
    "prepare_threshold": None,
}


_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class _Pool:
    """Connections for one purpose."""

    engine: AsyncEngine
    size: int
    limit: float
    free: asyncio.Semaphore


class PostgresDatabase:
    """One database, with connections for the inbox, for other writers and for readers."""

    dialect = "postgresql"

    def __init__(self, url: URL, place: str, *, is_prepared: bool) -> None:
        """``place``: the part of the URL that may be shown. ``is_prepared``: schema is current."""
        self._url = url
        self._place = place
        self._is_prepared = is_prepared
        self._is_closed = False
        self._inserts: dict[tuple[Column[Any], ...], str] = {}
        begin = "BEGIN ISOLATION LEVEL READ COMMITTED"
        look = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        self._inbox_pool = self._pool(1, begin, URGENT_LIMIT)
        self._write_pool = self._pool(WRITERS, begin, LIMIT)
        self._read_pool = self._pool(READERS, look, LIMIT)

    async def check_identity(self) -> None:
        """Do nothing: a server's database is found by its name."""

    async def check_room(self) -> None:
        """Do nothing: the server sees to its disk, and says when it is full."""

    def mark_prepared(self) -> None:
        """Allow transactions: the schema has been prepared."""
        self._is_prepared = True

    async def durability(self) -> dict[str, str | bool]:
        """Return the server's settings of durability in a transaction of ours."""
        settings: dict[str, str | bool] = {"server": self._place}
        async with self.write() as connection:
            for name in ("server_version", "synchronous_commit", "fsync", "full_page_writes"):
                settings[name] = str((await connection.exec_driver_sql(f"SHOW {name}")).scalar())
        for name in ("fsync", "full_page_writes"):
            settings[name] = settings[name] if settings[name] == "on" else "UNSAFE"
        return settings

    async def close(self) -> None:
        """Close all connections after running transactions."""
        self._is_closed = True
        for pool in (self._inbox_pool, self._write_pool, self._read_pool):
            for _ in range(pool.size):
                await pool.free.acquire()
            await shielded(pool.engine.dispose())
            for _ in range(pool.size):
                pool.free.release()

    @asynccontextmanager
    async def write(self, *, urgent: bool = False) -> AsyncIterator[AsyncConnection]:
        """Open a transaction. Keep it under 50 ms: others wait for its locks."""
        async with self._transaction(
            self._inbox_pool if urgent else self._write_pool
        ) as connection:
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that reads one consistent state."""
        async with self._transaction(self._read_pool) as connection:
            yield connection

    async def insert_new(
        self, columns: Sequence[Column[Any]], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert ``rows`` in one urgent transaction, through the driver's own connection.

        Each column is one binary array: a third of the work of a statement for each row.
        """
        key = tuple(columns)
        statement = self._inserts.get(key) or self._inserts.setdefault(key, _insert_of(columns))
        arrays = [list(column) for column in zip(*rows, strict=True)]
        async with self._transaction(self._inbox_pool) as connection:
            if arrays:
                driver = await _driver_of(connection)
                await shielded(driver.execute(statement, arrays))

    @asynccontextmanager
    async def _transaction(self, pool: _Pool) -> AsyncIterator[ShieldedConnection]:
        with translate_errors(self._place):
            async with asyncio.timeout(pool.limit):  # transactions before this one may hang
                await pool.free.acquire()
            try:
                self._check_usable()
                deadline = asyncio.get_running_loop().time() + pool.limit
                connection, alarm = await self._begin(pool, deadline)
                try:
                    yield connection
                    await shielded(connection.commit())
                except BaseException as error:
                    await roll_back(connection)
                    if is_read_only(error):
                        await shielded(connection.invalidate())
                    raise
                finally:
                    alarm.cancel()
                    await shielded(connection.close())
            finally:
                pool.free.release()

    async def _begin(
        self, pool: _Pool, deadline: float
    ) -> tuple[ShieldedConnection, asyncio.TimerHandle]:
        """Return a connection with an open transaction, and the alarm that cuts it."""
        try:
            return await _connect_and_begin(pool.engine, deadline)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        # It had died in the pool, which has dropped all of its connections: this one is new.
        return await _connect_and_begin(pool.engine, deadline)

    def _check_usable(self) -> None:
        if self._is_closed:
            raise StoreUnavailableError("the store is closed")
        if not self._is_prepared:
            raise StoreUnavailableError(f"PostgreSQL at {self._place} has not been reached yet")

    def _pool(self, size: int, begin: str, limit: float) -> _Pool:
        engine = create_async_engine(
            self._url,
            connect_args=DRIVER,
            pool_size=size,
            max_overflow=0,
            pool_use_lifo=True,
            use_native_hstore=False,  # or it queries for a type that we do not use
            hide_parameters=True,
        )
        begin_with_limits(engine.sync_engine, begin, limit)
        return _Pool(engine, size, limit, asyncio.Semaphore(size))


def begin_with_limits(engine: Any, begin: str, limit: float) -> None:
    """Begin each transaction of ``engine`` with its time-outs, in one round trip.

    ``synchronous_commit`` is never off: that would lose acknowledged callbacks.
    """
    milliseconds = round(limit * 1000)
    opening = "; ".join(
        (
            begin,
            f"SET LOCAL statement_timeout = {milliseconds}",
            f"SET LOCAL lock_timeout = {milliseconds * 4 // 5}",
            f"SET LOCAL idle_in_transaction_session_timeout = {milliseconds}",
            # Since 17, and the only one that ends a client which has stopped between two messages
            # of a pipeline: neither idle nor in a statement, it would keep its locks for ever.
            f"SELECT set_config('transaction_timeout', '{milliseconds}', true)"
            " WHERE current_setting('transaction_timeout', true) IS NOT NULL",
            "SELECT set_config('synchronous_commit', 'on', true)"
            " WHERE current_setting('synchronous_commit') = 'off'",
        )
    )
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(opening))


def cut_connection(driver: Any) -> None:
    """Cut the connection: a wait for the server's answer ends with an error at once.

    The driver's own cancel asks the server, which may not answer.
    """
    with (
        suppress(OSError, psycopg.Error),  # it is closed already
        socket.socket(fileno=os.dup(driver.fileno())) as connection,
    ):
        connection.shutdown(socket.SHUT_RDWR)


async def _connect_and_begin(
    engine: AsyncEngine, deadline: float
) -> tuple[ShieldedConnection, asyncio.TimerHandle]:
    loop = asyncio.get_running_loop()
    connection = ShieldedConnection(engine)
    alarm = None
    try:
        await shielded(asyncio.wait_for(connection.start(), deadline - loop.time()))
        alarm = loop.call_at(deadline, cut_connection, await _driver_of(connection))
        await shielded(connection.begin().start())
    except BaseException:
        if connection.sync_connection is not None:
            await roll_back(connection)
            await shielded(connection.close())
        if alarm is not None:
            alarm.cancel()
        raise
    return connection, alarm


def _insert_of(columns: Sequence[Column[Any]]) -> str:
    names = ", ".join(column.name for column in columns)
    types = (column.type.compile(_DIALECT).partition("(")[0] for column in columns)
    arrays = ", ".join(f"%b::{kind}[]" for kind in types)
    return (
        f"INSERT INTO {columns[0].table.name} ({names})"  # noqa: S608 (constants)
        f" SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"
    )


async def _driver_of(connection: AsyncConnection) -> Any:
    return (await connection.get_raw_connection()).driver_connection
