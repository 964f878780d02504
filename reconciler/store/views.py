"""Reads the ledger: pages, one process with its timeline, and counts."""

from collections.abc import Collection
from dataclasses import dataclass
from heapq import merge
from typing import Any

import orjson
from sqlalchemy import Column, ColumnElement, bindparam, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.ledger import State, TrackedProcess
from reconciler.ledger.identifiers import key_of
from reconciler.store.database import Database
from reconciler.store.paging import BadCursorError, cursor_of, position_in
from reconciler.store.rows import from_row
from reconciler.store.schema import LATE, Id, Millis, callbacks, deliveries, processes, timeline

__all__ = ["BadCursorError", "Counts", "Detail", "TimelineEntry", "Views"]


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One entry of a process's timeline; ``at`` in UTC milliseconds."""

    at: int
    event: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts and oldest times of the ledger and the outbox. Times are UTC milliseconds."""

    states: dict[str, int]
    overdue_since: int | None
    """Since when the process that is overdue longest is so."""
    reported_since: int | None
    last_callback_at: int | None
    deliveries_pending: int
    deliveries_dead: int
    deliveries_pending_since: int | None = None
    """Since when the delivery that has been pending longest is so."""


@dataclass(frozen=True, slots=True)
class Detail:
    """One process with its timeline, oldest first, as of one moment."""

    process: TrackedProcess
    timeline: list[TimelineEntry]


class Views:
    """Read-only access to one store, without the writer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def process(self, process_id: str) -> TrackedProcess | None:
        """Return one process, or None."""
        async with self._database.read() as connection:
            return await _process(connection, process_id)

    async def timeline(self, process_id: str) -> list[TimelineEntry]:
        """Return the timeline of a process, oldest first."""
        async with self._database.read() as connection:
            return await _timeline(connection, process_id)

    async def detail(self, process_id: str) -> Detail | None:
        """Return one process with its timeline, read in one transaction; or None."""
        async with self._database.read() as connection:
            process = await _process(connection, process_id)
            if process is None:
                return None
            return Detail(process, await _timeline(connection, process_id))

    async def page(
        self, *, state: State | None, limit: int, cursor: str | None, oldest: bool = False
    ) -> tuple[list[TrackedProcess], str | None]:
        """Return one page of processes, and the cursor of the next.

        The newest comes first, or with ``oldest`` the one that was registered first.
        """
        columns = (processes.c.registered_at, processes.c.process_id)
        key = tuple_(*columns)
        query = select(processes).order_by(
            *(column.asc() if oldest else column.desc() for column in columns)
        )
        if state is not None:
            query = query.where(processes.c.state == str(state))
        if cursor is not None:
            at, process_id = position_in(cursor)
            place = _position(at, process_id)
            query = query.where(key > place if oldest else key < place)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.limit(limit + 1))).mappings().all()
        found = [from_row(row) for row in rows[:limit]]
        if len(rows) <= limit:
            return found, None
        return found, cursor_of(found[-1].registered_at, found[-1].key)

    async def page_of(
        self, states: Collection[State], *, limit: int, cursor: str | None
    ) -> tuple[list[TrackedProcess], str | None]:
        """Return one page of processes in one of ``states``; none: in any."""
        wanted: list[State | None] = [*dict.fromkeys(states)] or [None]
        pages = [await self.page(state=state, limit=limit, cursor=cursor) for state in wanted]
        if len(pages) == 1:
            return pages[0]
        found = sorted((each for page, _ in pages for each in page), key=_place, reverse=True)
        if len(found) <= limit and all(following is None for _, following in pages):
            return found, None
        return found[:limit], cursor_of(*_place(found[limit - 1]))

    async def settled(
        self, *, since: int, limit: int, cursor: str | None
    ) -> tuple[list[TrackedProcess], str | None]:
        """Return one page of processes settled at or after ``since``, the earliest first."""
        return await self._since(processes.c.settled_at, since, limit, cursor)

    async def ended(
        self, *, since: int, limit: int, cursor: str | None, states: Collection[State] = ()
    ) -> tuple[list[TrackedProcess], str | None]:
        """Return one page of processes that ended at or after ``since``, the earliest first.

        Those that are ``gone`` or ``expired`` are among them, unless ``states`` names others; and a
        corrected one ends again.
        """
        return await self._since(processes.c.ended_at, since, limit, cursor, states)

    async def _since(
        self,
        at: Column[int],
        since: int,
        limit: int,
        cursor: str | None,
        states: Collection[State] = (),
    ) -> tuple[list[TrackedProcess], str | None]:
        """Return one page of those that have the time ``at``, in its order."""
        position = (since, "") if cursor is None else position_in(cursor)
        query = (
            select(processes)
            .where(at.is_not(None))
            .where(tuple_(at, processes.c.process_id) >= _position(*position))
            .order_by(at, processes.c.process_id)
            .limit(limit + 1)
        )
        if states:
            query = query.where(processes.c.state.in_([str(state) for state in states]))
        async with self._database.read() as connection:
            found = (await connection.execute(query)).mappings().all()
        page = [from_row(row) for row in found[:limit]]
        if len(found) <= limit:
            return page, None
        following = found[limit]
        return page, cursor_of(following[at.name] or 0, following["process_id"])

    async def counts(self) -> Counts:
        """Return the counts."""
        by_state = select(processes.c.state, func.count()).group_by(processes.c.state)
        oldest = select(func.min(processes.c.state_since)).where(LATE)
        newest_callback = select(func.max(callbacks.c.received_at))
        by_delivery = (
            select(deliveries.c.state, func.count())
            .where(deliveries.c.state.in_(("pending", "dead")))  # most are delivered
            .group_by(deliveries.c.state)
        )
        backlog = select(func.min(deliveries.c.pending_since)).where(
            deliveries.c.state == "pending"
        )
        async with self._database.read() as connection:
            found = {row[0]: row[1] for row in await connection.execute(by_state)}
            overdue = await connection.scalar(oldest.where(processes.c.state == "overdue"))
            reported = await connection.scalar(oldest.where(processes.c.state == "reported"))
            last_callback = await connection.scalar(newest_callback)
            outbox = {row[0]: row[1] for row in await connection.execute(by_delivery)}
            pending_since = await connection.scalar(backlog)
        return Counts(
            states={str(state): found.get(str(state), 0) for state in State},
            overdue_since=overdue,
            reported_since=reported,
            last_callback_at=last_callback,
            deliveries_pending=outbox.get("pending", 0),
            deliveries_dead=outbox.get("dead", 0),
            deliveries_pending_since=pending_since,
        )


async def _process(connection: AsyncConnection, process_id: str) -> TrackedProcess | None:
    query = select(processes).where(processes.c.process_id == key_of(process_id))
    row = (await connection.execute(query)).mappings().first()
    return None if row is None else from_row(row)


async def _timeline(connection: AsyncConnection, process_id: str) -> list[TimelineEntry]:
    process_id = key_of(process_id)
    query = select(timeline).where(timeline.c.process_id == process_id).order_by(timeline.c.id)
    entries = [
        TimelineEntry(row.at, row.event, orjson.loads(row.fields))
        for row in await connection.execute(query)
    ]
    # A successful delivery has its row in the outbox, and no second one in the timeline.
    delivered = select(deliveries).where(
        deliveries.c.process_id == process_id, deliveries.c.delivered_at.is_not(None)
    )
    successes = [
        TimelineEntry(
            row.delivered_at, "delivery_succeeded", {"type": row.type, "attempt": row.attempts}
        )
        for row in await connection.execute(delivered)
    ]
    successes.sort(key=_time_of)
    # Merged, not sorted: entries stay in the order of writing, whatever the clock did.
    return list(merge(entries, successes, key=_time_of))


def _position(at: int, process_id: str) -> ColumnElement[Any]:
    return tuple_(bindparam("at", at, Millis), bindparam("key", process_id, Id))


def _place(process: TrackedProcess) -> tuple[int, str]:
    return process.registered_at, process.key


def _time_of(entry: TimelineEntry) -> int:
    return entry.at
