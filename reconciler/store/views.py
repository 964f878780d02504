"""Looking at the ledger: lists, one process with its timeline, and the whole in numbers."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import bindparam, func, select, tuple_

from reconciler.ledger import State, TrackedProcess
from reconciler.store.database import Database
from reconciler.store.rows import from_row
from reconciler.store.schema import callbacks, deliveries, processes, timeline


class BadCursorError(ValueError):
    """The cursor was not given out by ``page``."""


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One line of a process's history; ``at`` in UTC milliseconds."""

    at: int
    event: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Counts:
    """The ledger in numbers. Times are UTC milliseconds."""

    states: dict[str, int]
    overdue_since: int | None
    """When the process that has been overdue longest became so."""
    reported_since: int | None
    last_callback_at: int | None
    deliveries_pending: int
    deliveries_dead: int


class Views:
    """Read-only access to one store; never takes the writer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def process(self, process_id: str) -> TrackedProcess | None:
        """Return one process, or None."""
        query = select(processes).where(processes.c.process_id == process_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else from_row(row)

    async def timeline(self, process_id: str) -> list[TimelineEntry]:
        """Return what happened to a process, oldest first."""
        query = select(timeline).where(timeline.c.process_id == process_id).order_by(timeline.c.id)
        async with self._database.read() as connection:
            rows = await connection.execute(query)
            return [TimelineEntry(row.at, row.event, orjson.loads(row.fields)) for row in rows]

    async def page(
        self, *, state: State | None, limit: int, cursor: str | None
    ) -> tuple[list[TrackedProcess], str | None]:
        """Return one page of processes, the newest first, and the cursor of the next."""
        key = tuple_(processes.c.registered_at, processes.c.process_id)
        query = select(processes).order_by(
            processes.c.registered_at.desc(), processes.c.process_id.desc()
        )
        if state is not None:
            query = query.where(processes.c.state == str(state))
        if cursor is not None:
            at, process_id = _position(cursor)
            query = query.where(key < tuple_(bindparam("at", at), bindparam("key", process_id)))
        async with self._database.read() as connection:
            rows = (await connection.execute(query.limit(limit + 1))).mappings().all()
        found = [from_row(row) for row in rows[:limit]]
        return found, _cursor(found[-1]) if len(rows) > limit else None

    async def counts(self) -> Counts:
        """Return the whole in numbers: one pass over an index."""
        by_state = select(processes.c.state, func.count()).group_by(processes.c.state)
        oldest = select(func.min(processes.c.state_since))
        newest_callback = select(func.max(callbacks.c.received_at))
        by_delivery = select(deliveries.c.state, func.count()).group_by(deliveries.c.state)
        async with self._database.read() as connection:
            found = {row[0]: row[1] for row in await connection.execute(by_state)}
            overdue = await connection.scalar(oldest.where(processes.c.state == "overdue"))
            reported = await connection.scalar(oldest.where(processes.c.state == "reported"))
            last_callback = await connection.scalar(newest_callback)
            outbox = {row[0]: row[1] for row in await connection.execute(by_delivery)}
        return Counts(
            states={str(state): found.get(str(state), 0) for state in State},
            overdue_since=overdue,
            reported_since=reported,
            last_callback_at=last_callback,
            deliveries_pending=outbox.get("pending", 0),
            deliveries_dead=outbox.get("dead", 0),
        )


def _cursor(last: TrackedProcess) -> str:
    return urlsafe_b64encode(f"{last.registered_at} {last.process_id}".encode()).decode()


def _position(cursor: str) -> tuple[int, str]:
    try:
        at, process_id = urlsafe_b64decode(cursor.encode()).decode().split(" ", 1)
        return int(at), process_id
    except ValueError as error:
        raise BadCursorError("cursor: not one that this API has given out") from error
