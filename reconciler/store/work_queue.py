"""The sweeper's queue: claims what is due under a lease, and records the results.

The reasons: docs/decisions/001 and docs/decisions/002.
"""

from collections.abc import Sequence

from sqlalchemy import and_, bindparam, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.ledger import (
    Call,
    ClockJumpedBack,
    Lane,
    Outcome,
    Recheck,
    Rules,
    State,
    TimePassed,
    TrackedProcess,
    Verb,
    decide,
    held_back,
    lease,
    of_the_past,
)
from reconciler.ledger.identifiers import key_of
from reconciler.store.actions import Note
from reconciler.store.apply import Observed, apply_observations, save
from reconciler.store.clock import tolerance
from reconciler.store.database import Database
from reconciler.store.locks import try_lock
from reconciler.store.retry import retried
from reconciler.store.rows import from_row
from reconciler.store.schema import LATE, processes

_C = processes.c
_FREE = or_(_C.lease_until.is_(None), _C.lease_until <= bindparam("now"))
_DUE = _C.next_check_at <= bindparam("now")
_ELIGIBLE = {
    Lane.CONFIRM: and_(_C.lane == Lane.CONFIRM, _DUE, _FREE),
    Lane.ASKED: and_(_C.lane == Lane.ASKED, _DUE, _FREE),
    Lane.OVERDUE: and_(_C.lane == Lane.OVERDUE, _DUE, _FREE),
    Lane.CATCH_UP: and_(_C.lane == Lane.CATCH_UP, _C.next_check_at.is_not(None), _FREE),
}
_CLAIMABLE = {
    lane: select(processes)
    .where(condition, _C.process_id != bindparam("skip"))
    .order_by(_C.next_check_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    for lane, condition in _ELIGIBLE.items()
}
_HAS_DUE = {lane: select(_C.process_id).where(where).limit(1) for lane, where in _ELIGIBLE.items()}
_LATE = (
    select(_C.process_id)
    .where(_C.lane.in_((Lane.CATCH_UP, Lane.WAITING)), _DUE)
    .order_by(_C.lane, _C.next_check_at)  # the order of the index: nothing to sort
    .limit(bindparam("most"))
)
_ASKED = (
    select(_C.process_id)
    .where(_C.lane == Lane.ASKED, _DUE)
    .order_by(_C.next_check_at)
    .limit(bindparam("most"))
)
_AHEAD = (
    select(_C.process_id)
    .where(_C.next_check_at.is_not(None))
    .where(
        or_(
            _C.scheduled_at > bindparam("now"),
            _C.lease_begun_at > bindparam("now"),
            _C.callback_at > bindparam("now"),
            _C.registered_at > bindparam("now"),
            and_(_C.state_since > bindparam("now"), LATE),
        )
    )
)
_WAITED = (
    select(_C.process_id)
    .where(_C.lane == Lane.WAITING, _C.next_check_at.is_not(None))
    .where(_C.registered_at <= bindparam("until"), _C.scheduled_at <= bindparam("until"))
    .order_by(_C.next_check_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_OWE_CATCH_UP = (
    update(processes)
    .where(_C.process_id.in_(bindparam("ids", expanding=True)))
    .values(catch_up=True, lane=int(Lane.CATCH_UP))
)


class WorkQueue:
    """The work queue of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tolerance = tolerance(database.dialect)

    async def has_due(self, lane: Lane, now: int) -> bool:
        """Tell whether there is anything to claim in ``lane``, without the writer."""
        async with self._database.read() as connection:
            return (await connection.execute(_HAS_DUE[lane], {"now": now})).first() is not None

    async def claim(
        self,
        lanes: Sequence[Lane],
        most: int,
        *,
        owner: str,
        rules: Rules,
        now: int,
        length: int,
        skip: str = "",
    ) -> list[TrackedProcess]:
        """Lease up to ``most`` due processes for ``length`` ms, from the first lane on.

        The lease of each names the call to make. Committed when this returns.
        """
        claimed: dict[str, TrackedProcess] = {}
        held: dict[str, TrackedProcess] = {}
        before: dict[str, TrackedProcess] = {}
        async with self._database.write() as connection:
            for lane in lanes:
                values = {"now": now, "most": most - len(claimed), "skip": key_of(skip)}
                if not values["most"]:
                    break
                for row in (await connection.execute(_CLAIMABLE[lane], values)).mappings():
                    stored = from_row(row)
                    process = of_the_past(stored, now)
                    decision = decide(process, rules, now)
                    before[process.key] = stored
                    if isinstance(decision, Call):
                        claimed[process.key] = lease(process, decision.verb, owner, now, length)
                    else:  # it would stand before the others until it may be called again
                        held[process.key] = held_back(process, rules, now)
            await save(connection, before, {**claimed, **held})
        return list(claimed.values())

    @retried
    async def record(
        self, observed: Sequence[Observed], rules: Rules, now: int
    ) -> list[tuple[Observed, Outcome]]:
        """Apply results of calls in one transaction."""
        async with self._database.write() as connection:
            outcomes = await apply_observations(connection, observed, rules, now)
        return list(zip(observed, outcomes, strict=True))

    @retried
    async def recheck(
        self, process_ids: Sequence[str], verb: Verb | None, rules: Rules, now: int, note: Note
    ) -> list[tuple[Observed, Outcome]]:
        """Make processes due now at a person's request; those that are not known stay so."""
        request = Recheck(verb, note.action.by)
        observed: list[Observed] = [(key, request) for key in process_ids]
        async with self._database.write() as connection:
            outcomes = await apply_observations(connection, observed, rules, now)
            changes = list(zip(observed, outcomes, strict=True))
            due = [key for (key, _), outcome in changes if outcome.process is not None]
            await note.write(connection, due)
        return changes

    async def turn_overdue(
        self, rules: Rules, now: int, most: int
    ) -> list[tuple[Observed, Outcome]]:
        """Turn up to ``most`` waiting processes overdue whose time-out is over. Needs no call.

        Returns those that have turned: after a recheck one may be due and not late.
        """
        async with self._database.read() as connection:
            late = await _ids(connection, _LATE, now, most)
            late = late or await _ids(connection, _ASKED, now, most)
        if not late:
            return []
        changes = await self.record([(key, TimePassed()) for key in late], rules, now)
        return [
            (observed, outcome)
            for observed, outcome in changes
            if outcome.process is not None and outcome.process.state is State.OVERDUE
        ]

    async def ahead_of(self, now: int) -> list[str]:
        """Return the processes whose wait began after ``now``, as the clock was put back.

        Reads all that are open.
        """
        async with self._database.read() as connection:
            ahead = await connection.execute(_AHEAD, {"now": now + self._tolerance})
            return list(ahead.scalars())

    @retried
    async def mend_clock(self, process_ids: Sequence[str], rules: Rules, now: int) -> bool:
        """Start the waits of ``process_ids`` again from ``now``; False if another daemon does."""
        async with self._database.write() as connection:
            if not await try_lock(connection, "mend_clock"):
                return False
            await apply_observations(
                connection, [(key, ClockJumpedBack()) for key in process_ids], rules, now
            )
        return True

    async def owe_catch_up(self, until: int, most: int) -> int | None:
        """Owe one early Get process to up to ``most`` processes that waited before ``until``.

        Returns how many; None where another daemon does it.
        """
        async with self._database.write() as connection:
            if not await try_lock(connection, "catch_up"):
                return None
            # Two statements, for a plan may run a LIMIT below an UPDATE more than once.
            found = await connection.execute(_WAITED, {"until": until, "most": most})
            if ids := list(found.scalars()):
                await connection.execute(_OWE_CATCH_UP, {"ids": ids})
            return len(ids)


async def _ids(connection: AsyncConnection, query: object, now: int, most: int) -> list[str]:
    values = {"now": now, "most": most}
    return list((await connection.execute(query, values)).scalars())  # type: ignore[call-overload]
