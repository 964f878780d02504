"""The outbox: results for the user's application, at least once, each process's in order.

The reasons: docs/decisions/018.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, bindparam, case, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.store.any_of import any_of
from reconciler.store.bulk import BulkSelect
from reconciler.store.clock import tolerance
from reconciler.store.database import Database
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.paging import cursor_of, position_in
from reconciler.store.retry import retried
from reconciler.store.schema import Millis, deliveries, processes
from reconciler.store.timeline import entry_row, write_entries


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """One delivery. Times are UTC milliseconds."""

    id: int
    """Ascending in the order of creation."""
    webhook_id: str
    """The id that the application sees, the same with each attempt."""
    process_id: str
    type: str
    payload: str
    """The JSON that is posted: the process as it was at ``created_at``."""
    created_at: int
    state: DeliveryState
    pending_since: int
    """``give_up_after`` counts from here: from creation, or from a redelivery by a person."""
    attempts: int
    next_attempt_at: int | None
    last_error: str | None
    delivered_at: int | None


class Leased(NamedTuple):
    """A delivery that this instance may attempt until ``until``."""

    id: int
    webhook_id: str
    process_id: str
    type: str
    payload: str
    pending_since: int
    attempt: int
    """The number of this attempt; with owner and ``until`` the fencing token of its result."""
    until: int


class Attempt(NamedTuple):
    """The result of one attempt."""

    row: Leased
    state: DeliveryState
    error: str | None = None
    next_attempt_at: int | None = None
    http_status: int | None = None
    """None where no answer came."""
    duration: int = 0
    """In milliseconds."""
    ended_at: int = 0
    """When ``next_attempt_at`` was decided: the clock may be put back before it is recorded."""


CLAIMS_AT_ONCE = 1_000
"""Claims that cannot end in one millisecond: a larger difference is a clock put back."""


def _at_most_now(column: Column[int]) -> ColumnElement[Any]:
    """Return the time in ``column``, or ``now`` where that is earlier."""
    now = bindparam("now", type_=Millis())
    return case((column > now, now), else_=column)


_D = deliveries.c
_EARLIER = deliveries.alias("earlier")
_HAS_EARLIER = exists().where(
    _EARLIER.c.process_id == _D.process_id,
    _EARLIER.c.id < _D.id,
    _EARLIER.c.next_attempt_at.is_not(None),  # pending; for ``state`` SQLite has another index
)
_SPELLING = select(processes.c.spelling).where(processes.c.process_id == _D.process_id)
_PROCESS_ID = func.coalesce(_SPELLING.scalar_subquery(), _D.process_id).label("process_id")
"""The id as everybody reads it; the column has the key."""
_DUE = (
    select(
        _D.id,
        _D.webhook_id,
        _PROCESS_ID,
        _D.type,
        _D.payload,
        _D.pending_since,
        _D.attempts + 1,
        bindparam("until", type_=Millis()).label("until"),
    )
    .where(_D.next_attempt_at <= bindparam("now"))
    .where(or_(_D.lease_until.is_(None), _D.lease_until <= bindparam("now")))
    .where(~_HAS_EARLIER)
    .order_by(_D.next_attempt_at, _D.id)
    .limit(bindparam("most"))
)
_CLAIMABLE = _DUE.with_for_update(skip_locked=True, of=deliveries)
_CLAIMED = BulkSelect(_CLAIMABLE)
_CHOSEN = any_of(_D.id, "ids")
_LEASE = (
    update(deliveries)
    .where(_CHOSEN)
    .values(
        lease_owner=bindparam("owner"),
        lease_until=bindparam("until"),
        scheduled_at=bindparam("now"),
        attempts=_D.attempts + 1,
    )
)
# By the end of the lease too: no two batches of an owner end in the same millisecond, and SQLite
# gives the id of a last row that was forgotten to the next one.
_HELD = (
    _D.lease_owner == bindparam("owner"),
    _D.lease_until == bindparam("until"),
    _D.attempts == bindparam("attempt"),
)
_FREE = {"lease_owner": None, "lease_until": None}
_DELIVERED = (
    update(deliveries)
    .where(_CHOSEN, *_HELD)
    .values(
        state=DeliveryState.DELIVERED.value,
        next_attempt_at=None,
        last_error=None,
        delivered_at=bindparam("at"),
        **_FREE,
    )
)
_UNSPENT = (
    update(deliveries)
    .where(_CHOSEN, *_HELD)
    .values(attempts=_D.attempts - 1, next_attempt_at=_at_most_now(_D.next_attempt_at), **_FREE)
)
_FAILED = (
    update(deliveries)
    .where(_D.id == bindparam("row"), *_HELD)
    .values(
        state=bindparam("new_state"),
        next_attempt_at=bindparam("due"),
        scheduled_at=bindparam("now"),
        pending_since=_at_most_now(_D.pending_since),
        last_error=bindparam("error"),
        **_FREE,
    )
)
_AHEAD = select(_D.id).where(_D.next_attempt_at.is_not(None), _D.scheduled_at > bindparam("now"))
_SHIFT = _D.scheduled_at - bindparam("now", type_=Millis())
_MEND = (
    update(deliveries)
    .where(_CHOSEN, _D.next_attempt_at.is_not(None), _D.scheduled_at > bindparam("now"))
    .where(or_(_D.lease_owner.is_(None), _D.lease_owner != bindparam("owner")))
    .values(
        next_attempt_at=_D.next_attempt_at - _SHIFT,
        lease_until=_D.lease_until - _SHIFT,
        pending_since=_at_most_now(_D.pending_since),
        scheduled_at=bindparam("now"),
    )
)
_DEAD = (
    select(_D.webhook_id)
    .where(any_of(_D.webhook_id, "names"), _D.state == DeliveryState.DEAD.value)
    .order_by(_D.id)
)
_FIELDS = tuple(OutboxRow.__dataclass_fields__)


class Outbox:
    """The outbox of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tolerance = tolerance(database.dialect)
        self._last_until = 0

    async def has_due(self, now: int) -> bool:
        """Tell whether there is anything to claim, without the writer."""
        values = {"now": now, "most": 1, "until": 0}
        async with self._database.read() as connection:
            return (await connection.execute(_DUE, values)).first() is not None

    async def claim(self, most: int, *, owner: str, now: int, length: int) -> list[Leased]:
        """Lease up to ``most`` due deliveries for ``length`` ms, only the first of each process."""
        async with self._database.write() as connection:
            return await self._claim(connection, most, owner, now + length, now)

    @retried
    async def record(
        self,
        attempts: Sequence[Attempt],
        unspent: Sequence[Leased] = (),
        *,
        owner: str,
        now: int,
        most: int = 0,
        length: int = 0,
    ) -> list[Leased]:
        """Record the results of ``attempts``; one whose lease was lost changes nothing.

        ``unspent``: leased and not attempted, so due as before. In the same transaction up to
        ``most`` others are leased, as by ``claim``, and returned.
        """
        delivered: dict[tuple[int, int], list[int]] = {}
        returned: dict[tuple[int, int], list[int]] = {}
        failed = []
        dead: dict[str, dict[str, Any]] = {}
        for row in unspent:
            returned.setdefault((row.until, row.attempt), []).append(row.id)
        for attempt in attempts:
            row = attempt.row
            if attempt.state is DeliveryState.DELIVERED:
                delivered.setdefault((row.until, row.attempt), []).append(row.id)
                continue
            due = attempt.next_attempt_at
            if due is not None:
                due -= max(attempt.ended_at - now, 0)
            failed.append(
                {
                    "row": row.id,
                    "owner": owner,
                    "until": row.until,
                    "attempt": row.attempt,
                    "new_state": attempt.state.value,
                    "due": due,
                    "now": now,
                    "error": attempt.error,
                }
            )
            if attempt.state is DeliveryState.DEAD:
                fields = {"type": row.type, "attempt": row.attempt, "error": attempt.error}
                dead[row.webhook_id] = entry_row(row.process_id, now, "delivery_dead", fields)
        async with self._database.write() as connection:
            for (until, number), ids in delivered.items():
                held = {"ids": ids, "owner": owner, "until": until, "attempt": number}
                await connection.execute(_DELIVERED, {**held, "at": now})
            for (until, number), ids in returned.items():
                held = {"ids": ids, "owner": owner, "until": until, "attempt": number}
                await connection.execute(_UNSPENT, {**held, "now": now})
            if failed:
                await connection.execute(_FAILED, failed)
            if dead:  # but for those that were forgotten or leased by another meanwhile
                ended = await connection.execute(_DEAD, {"names": list(dead)})
                await write_entries(connection, [dead[name] for name in ended.scalars()])
            if not most:
                return []
            return await self._claim(connection, most, owner, now + length, now)

    async def _claim(
        self, connection: AsyncConnection, most: int, owner: str, until: int, now: int
    ) -> list[Leased]:
        if until <= self._last_until < until + CLAIMS_AT_ONCE:
            until = self._last_until + 1
        self._last_until = until
        values = {"now": now, "most": most, "until": until}
        leased = [Leased._make(row) for row in await _CLAIMED.rows(connection, values)]
        if leased:
            ids = [row.id for row in leased]
            held = {"ids": ids, "owner": owner, "until": until}
            await connection.execute(_LEASE, {**held, "now": now})
        return leased

    async def ahead_of(self, now: int) -> list[int]:
        """Return the pending deliveries whose wait or lease began after ``now``.

        The clock was put back since. Reads all that are pending.
        """
        async with self._database.read() as connection:
            ahead = await connection.execute(_AHEAD, {"now": now + self._tolerance})
            return list(ahead.scalars())

    @retried
    async def mend_clock(self, ids: Sequence[int], *, owner: str, now: int) -> int:
        """Start the waits and leases of ``ids`` again from ``now``; return how many.

        A lease of ``owner`` stays as it is, so that the result of its attempt still counts; then
        the delivery waits no longer than its backoff.
        """
        async with self._database.write() as connection:
            values = {"ids": list(ids), "owner": owner, "now": now}
            return (await connection.execute(_MEND, values)).rowcount

    async def page(
        self, *, state: DeliveryState | None, limit: int, cursor: str | None
    ) -> tuple[list[OutboxRow], str | None]:
        """Return one page of deliveries, the newest first, and the cursor of the next."""
        others = [column for column in _D if column.name != "process_id"]
        query = select(*others, _PROCESS_ID).order_by(_D.id.desc()).limit(limit + 1)
        if state is not None:
            query = query.where(_D.state == str(state))
        if cursor is not None:
            query = query.where(_D.id < position_in(cursor)[0])
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        found = [_outbox_row(row) for row in rows[:limit]]
        return found, cursor_of(found[-1].id, "") if len(rows) > limit else None


def _outbox_row(row: Any) -> OutboxRow:
    values = {name: getattr(row, name) for name in _FIELDS}
    return OutboxRow(**{**values, "state": DeliveryState(row.state)})
