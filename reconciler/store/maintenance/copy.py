"""Copies a whole store into another database, in one transaction, verified before its commit.

From SQLite to PostgreSQL or back. It uses plain connections of its own, for nobody else may use
either store meanwhile.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import (
    URL,
    Connection,
    Row,
    Table,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from reconciler.store.actions import Action
from reconciler.store.errors import StoreError
from reconciler.store.instances import LIVE_FOR
from reconciler.store.open import daemon_lock, prepare
from reconciler.store.schema import (
    actions,
    callbacks,
    deliveries,
    facts,
    instances,
    processes,
    timeline,
)
from reconciler.store.sqlite.migrate import on_connect
from reconciler.store.urls import is_postgres, postgres_url, sqlite_path

TABLES = (processes, callbacks, timeline, deliveries, actions, facts)
"""All but ``instances``: the daemons of one store do not run on the other."""

_MUST_BE_EMPTY = (processes, callbacks, deliveries)

AT_ONCE = 1_000
"""Rows in one statement."""

LIMIT = 86_400.0
"""Seconds that a copy may take."""

_BITS = 256


@dataclass(frozen=True, slots=True)
class Digest:
    """A number of rows, and the sum of their hashes: the same in any order."""

    rows: int = 0
    total: int = 0

    def plus(self, rows: Sequence[Row[Any]]) -> "Digest":
        """Return the digest with ``rows`` added."""
        total = self.total
        for row in rows:
            total += int.from_bytes(hashlib.sha256(_canonical(row)).digest())
        return Digest(self.rows + len(rows), total % 2**_BITS)

    @property
    def checksum(self) -> str:
        """The sum as text."""
        return f"{self.total:0{_BITS // 4}x}"


def copy_store(
    source: str, target: str, *, by: str, now: int, on_progress: Callable[[int, int], None]
) -> dict[str, Digest]:
    """Copy the store at ``source`` to the empty one at ``target``.

    ``on_progress`` gets the number of steps done and of all steps. Returns the digests by table.
    Raises StoreError; the target is then as empty as before.
    """
    if _location(source) == _location(target):
        raise StoreError("--from and --to are the same store")
    prepare(source, may_create=False, may_migrate=False)
    prepare(target, may_create=True, may_migrate=True)
    with (
        _exclusive(source),
        _exclusive(target),
        _connected(source) as origin,
        _connected(target) as destination,
    ):
        _refuse_running(origin, "--from", now)
        _refuse_running(destination, "--to", now)
        _refuse_filled(destination)
        return _copy(origin, destination, by=by, now=now, on_progress=on_progress)


def _copy(
    origin: Connection,
    destination: Connection,
    *,
    by: str,
    now: int,
    on_progress: Callable[[int, int], None],
) -> dict[str, Digest]:
    steps = 2 * sum(_count(origin, table) for table in TABLES)  # each is read, and read back
    done = 0

    def read(connection: Connection, table: Table) -> Iterator[Sequence[Row[Any]]]:
        nonlocal done
        for batch in _batches(connection, table):
            yield batch
            done += len(batch)
            on_progress(done, steps)

    for table in (timeline, actions, facts):  # rows that creating the target has left
        destination.execute(delete(table))
    copied: dict[str, Digest] = {}
    for table in TABLES:
        digest = Digest()
        try:
            for batch in read(origin, table):
                digest = digest.plus(batch)
                destination.execute(insert(table), [dict(row._mapping) for row in batch])
        except DBAPIError as error:
            kind = type(error.orig).__name__
            raise StoreError(f"cannot copy {table.name}: {kind}; ask check-db") from error
        copied[table.name] = digest
    for table in TABLES:
        found = Digest()
        for batch in read(destination, table):
            found = found.plus(batch)
        if found != copied[table.name]:
            raise StoreError(f"the copy of {table.name} differs from its original; nothing is kept")
    _advance_sequences(destination)
    action = Action(now, by, "copy", fields={"processes": copied["processes"].rows})
    destination.execute(insert(actions), [action.row(is_logged=False)])
    return copied


def _batches(connection: Connection, table: Table) -> Iterator[Sequence[Row[Any]]]:
    """Yield all rows in batches, streamed from the database."""
    query = select(table).execution_options(yield_per=AT_ONCE)
    with connection.execute(query) as result:
        yield from result.partitions()


def _canonical(row: Row[Any]) -> bytes:
    return orjson.dumps([each.hex() if isinstance(each, bytes) else each for each in row])


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _refuse_running(connection: Connection, which: str, now: int) -> None:
    alive = select(func.count()).where(instances.c.heartbeat_at >= now - LIVE_FOR)
    if connection.dialect.name == "sqlite":  # here one clock counts, which was put back since
        alive = alive.where(instances.c.heartbeat_at <= now + LIVE_FOR)
    if connection.execute(alive).scalar_one():
        raise StoreError(
            f"a daemon uses the store of {which}, or did so seconds ago; stop it first"
        )


def _refuse_filled(connection: Connection) -> None:
    for table in _MUST_BE_EMPTY:
        if connection.execute(select(table).limit(1)).first() is not None:
            raise StoreError(f"the store of --to is not empty: there are {table.name} in it")


def _advance_sequences(connection: Connection) -> None:
    """Let each sequence continue after the copied rows."""
    if connection.dialect.name != "postgresql":
        return
    for table in (timeline, deliveries, actions):
        highest = connection.execute(select(func.max(table.c.id))).scalar()
        if highest is not None:
            sequence = func.pg_get_serial_sequence(table.name, "id")
            connection.execute(select(func.setval(sequence, highest)))


def _location(url: str) -> str:
    return str(postgres_url(url)[0] if is_postgres(url) else sqlite_path(url))


@contextmanager
def _exclusive(url: str) -> Iterator[None]:
    """Lock a SQLite file against daemons; those on PostgreSQL are seen by their heartbeat."""
    lock = daemon_lock(url)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """Open a transaction on a connection of its own; nobody else can write meanwhile."""
    if is_postgres(url):
        from reconciler.store.postgres.migrate import transaction_on  # noqa: PLC0415 (an extra)

        names = ", ".join(table.name for table in (*TABLES, instances))
        with transaction_on(*postgres_url(url), LIMIT) as connection:
            connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE NOWAIT"))
            yield connection
        return
    path = sqlite_path(url)
    engine = create_engine(
        URL.create("sqlite", database=str(path)), poolclass=NullPool, hide_parameters=True
    )
    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        raise StoreError(f"{path}: {error.orig}") from error
    finally:
        engine.dispose()
