"""Removes what is finished and past its retention: found on a reader, removed in small batches.

A removing transaction does not search, so that it holds the writer only while it removes. But it
checks again what must stay: a pending delivery, an owed verification, an unapplied callback.

The reasons: docs/decisions/021.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import (
    ColumnElement,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.store.database import Database
from reconciler.store.schema import (
    ENDED,
    Id,
    Millis,
    Word,
    actions,
    callbacks,
    deliveries,
    processes,
    timeline,
)

WINDOW = 500
"""Rows in one search for those without a process."""

ROWS_A_PROCESS = 4
"""Fewer than most processes have in all tables, so that a transaction is filled."""


@dataclass(frozen=True, slots=True)
class RetentionPeriods:
    """How long finished rows are kept, in ms."""

    settled: int
    """Terminal processes, from their end; and rows that concern no process."""
    callbacks: int
    """Rows of the inbox, from their arrival."""


class Stage(Protocol):
    """One kind of rows to remove, the oldest first."""

    async def find(self, most: int) -> Sequence[Any] | None:
        """Return the next rows, possibly none yet; None at the end."""
        ...

    async def remove(
        self, connection: AsyncConnection, found: Sequence[Any], rows: int
    ) -> Counter[str]:
        """Remove up to ``rows`` rows of ``found`` in the caller's transaction; return counts."""
        ...


def stages(database: Database, keep: RetentionPeriods, now: int) -> list[Stage]:
    """Return the stages in the order in which they must run."""
    return [
        EndedProcesses(database, now - keep.settled, now),
        OldCallbacks(database, now - keep.callbacks),
        OrphanedRows(database, deliveries, deliveries.c.created_at, now - keep.settled),
        OrphanedRows(database, timeline, timeline.c.at, now - keep.settled),
        OrphanedRows(database, actions, actions.c.at, now - keep.settled),
    ]


_P = processes.c
_TO_DELIVER = exists().where(
    deliveries.c.process_id == _P.process_id,
    deliveries.c.next_attempt_at.is_not(None),  # pending; by ``state`` SQLite would take that index
)
_TO_APPLY = exists().where(callbacks.c.process_id == _P.process_id, callbacks.c.outcome.is_(None))
_REMOVABLE = and_(
    ENDED,
    _P.state_since <= bindparam("before"),
    _P.next_check_at.is_(None),  # else a verification is owed
    or_(_P.lease_until.is_(None), _P.lease_until <= bindparam("now")),
    ~_TO_DELIVER,
    ~_TO_APPLY,
)
_FIND_REMOVABLE = (
    select(_P.state_since, _P.process_id)
    .where(_REMOVABLE)
    .where(
        tuple_(_P.state_since, _P.process_id)
        > tuple_(bindparam("at", type_=Millis), bindparam("key", type_=Id))
    )
    .order_by(_P.state_since, _P.process_id)
    .limit(bindparam("most"))
)
_CHOSEN = _P.process_id.in_(bindparam("ids", expanding=True))
_STILL_REMOVABLE = (
    select(_P.process_id)
    .where(_CHOSEN, _REMOVABLE)
    .order_by(_P.process_id)
    .with_for_update(skip_locked=True, of=processes)
)
_REMOVE = delete(processes).where(_CHOSEN, ~_TO_DELIVER, ~_TO_APPLY)


def _some_of(table: Table, key: ColumnElement[Any], *also: ColumnElement[bool]) -> Any:
    """Return the DELETE of up to ``most`` rows of the chosen processes.

    ``also`` stands twice: after a wait for a row, PostgreSQL repeats only the outer condition.
    """
    chosen = table.c.process_id.in_(bindparam("ids", expanding=True))
    some = select(key).where(chosen, *also).limit(bindparam("most"))
    return delete(table).where(key.in_(some), *also)


_BELONGINGS = {
    "entries": _some_of(timeline, timeline.c.id),
    "callbacks": _some_of(callbacks, callbacks.c.receipt_id, callbacks.c.outcome.is_not(None)),
    "deliveries": _some_of(deliveries, deliveries.c.id, deliveries.c.next_attempt_at.is_(None)),
}


class EndedProcesses:
    """Terminal processes with all their rows."""

    def __init__(self, database: Database, before: int, now: int) -> None:
        self._database = database
        self._past = {"before": before, "now": now}
        self._at, self._key = -(2**62), ""

    async def find(self, most: int) -> Sequence[Any] | None:
        """Return the oldest removable ones, each with the time of its end and its id."""
        values = {**self._past, "at": self._at, "key": self._key}
        number = most // ROWS_A_PROCESS + 1
        async with self._database.read() as connection:
            found = await connection.execute(_FIND_REMOVABLE, {**values, "most": number})
            return found.all() or None

    async def remove(
        self, connection: AsyncConnection, found: Sequence[Any], rows: int
    ) -> Counter[str]:
        """Remove their rows in other tables and, when none are left, their own.

        Processes with more than ``rows`` rows are found again by the next ``find``.
        """
        values = {**self._past, "ids": [row.process_id for row in found]}
        ids = list((await connection.execute(_STILL_REMOVABLE, values)).scalars())
        removed: Counter[str] = Counter()
        for name, statement in _BELONGINGS.items():
            left = rows - removed.total()
            if ids and left:
                done = await connection.execute(statement, {"ids": ids, "most": left})
                removed[name] = done.rowcount
        if removed.total() < rows:
            if ids:
                removed["processes"] = (await connection.execute(_REMOVE, {"ids": ids})).rowcount
            self._at, self._key = found[-1]
        return removed


_C = callbacks.c
_HAS_WORK = exists().where(_P.process_id == _C.process_id, _P.next_check_at.is_not(None))
_FIND_OLD = (
    select(_C.received_at, _C.receipt_id)
    .where(_C.received_at <= bindparam("before"), _C.outcome.is_not(None), ~_HAS_WORK)
    .where(
        tuple_(_C.received_at, _C.receipt_id)
        > tuple_(bindparam("at", type_=Millis), bindparam("key", type_=Word))
    )
    .order_by(_C.received_at, _C.receipt_id)
    .limit(bindparam("most"))
)
_REMOVE_OLD = delete(callbacks).where(
    _C.receipt_id.in_(bindparam("ids", expanding=True)), _C.outcome.is_not(None), ~_HAS_WORK
)


class OldCallbacks:
    """Callbacks with an outcome, but for those of processes that are due."""

    def __init__(self, database: Database, before: int) -> None:
        self._database = database
        self._before = before
        self._at, self._key = -(2**62), ""

    async def find(self, most: int) -> Sequence[Any] | None:
        """Return the oldest removable ones, each with its arrival and its receipt id."""
        values = {"before": self._before, "at": self._at, "key": self._key, "most": most}
        async with self._database.read() as connection:
            return (await connection.execute(_FIND_OLD, values)).all() or None

    async def remove(
        self, connection: AsyncConnection, found: Sequence[Any], rows: int
    ) -> Counter[str]:
        """Remove them."""
        ids = [row.receipt_id for row in found[:rows]]
        done = await connection.execute(_REMOVE_OLD, {"ids": ids})
        self._at, self._key = found[: len(ids)][-1]
        return Counter(callbacks=done.rowcount)


class OrphanedRows:
    """Rows of a table with a serial id whose process is not on the ledger.

    Such are entries that concern no process or an unknown one, actions, and deliveries made by
    hand. They are read in the order of their ids, which is that of their times, up to a window
    without old ones.
    """

    def __init__(
        self, database: Database, table: Table, at: ColumnElement[int], before: int
    ) -> None:
        self._database = database
        self._name = "deliveries" if table is deliveries else "entries"
        self._after = 0
        self._before = before
        key = table.c.id
        lost = ~exists().where(_P.process_id == table.c.process_id)
        if "next_attempt_at" in table.c:
            lost = and_(lost, table.c.next_attempt_at.is_(None))
        old = at <= bindparam("before")
        self._window = (
            select(key, old.label("is_old"), and_(old, lost).label("is_removable"))
            .where(key > bindparam("after"))
            .order_by(key)
            .limit(literal(WINDOW))
        )
        self._remove = delete(table).where(key.in_(bindparam("ids", expanding=True)), lost)

    async def find(self, most: int) -> Sequence[Any] | None:
        """Return the removable ids of the next window, possibly none."""
        values = {"after": self._after, "before": self._before}
        async with self._database.read() as connection:
            rows = (await connection.execute(self._window, values)).all()
        if not any(row.is_old for row in rows):
            return None
        removable = [row.id for row in rows if row.is_removable]
        self._after = removable[most - 1] if len(removable) > most else rows[-1].id
        return removable[:most]

    async def remove(
        self, connection: AsyncConnection, found: Sequence[Any], rows: int
    ) -> Counter[str]:
        """Remove them."""
        done = await connection.execute(self._remove, {"ids": list(found[:rows])})
        return Counter({self._name: done.rowcount})
