"""Looks at the ledger with each tick: what turns overdue, and what a downtime has done.

It makes no calls, so it goes on whatever Assure does. Each piece of work is bounded; a caller that
gets True calls again.
"""

from structlog.typing import FilteringBoundLogger

from reconciler.config import InForce
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.announce import announce
from reconciler.store.work_queue import WorkQueue

MOST_AT_ONCE = 100
"""Processes in one transaction: some 20 ms of the writer."""

MARKED_AT_ONCE = 1_000
"""Processes marked in one transaction: a plain update, some 10 ms."""

MOST_BATCHES = 50
"""Transactions in one tick, so that a tick of a large ledger ends in about a second."""

DOWNTIME = 30_000
"""Milliseconds without a heartbeat of any instance after which callbacks may have been lost."""


class OverdueChecker:
    """Turns waiting processes overdue, and rings ``due`` for the sweeper."""

    def __init__(
        self,
        work: WorkQueue,
        current: Current[InForce],
        *,
        due: Bell,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self._work = work
        self._current = current
        self._due = due
        self._clock = clock
        self._log = log
        self._looked_after: int | None = None
        self._marked = 0
        self.has_caught_up = False
        """Whether ``after_downtime`` has come to its end."""

    async def tick(self) -> bool:
        """Turn overdue what is due; True where there is more to turn. Raises StoreError."""
        for _ in range(MOST_BATCHES):
            rules, now = self._current.value.rules, self._clock.now()
            changes = await self._work.turn_overdue(rules, now, MOST_AT_ONCE)
            announce(self._log, changes)
            self._due.ring()
            if not changes:
                return False
        return True

    async def after_downtime(self, last_alive_at: int | None, *, up_for: int = 0) -> bool:
        """Mark one batch of what was waiting, if callbacks may be lost; True where there is more.

        Each is looked at once, without waiting for its timeout. False with ``has_caught_up`` still
        False means that another daemon is at it, and may die before it is done: call again later.
        After a clock was put back nobody knows how long the downtime was; it counts as one.

        ``last_alive_at``: when any instance was last alive before this one; None: never.
        ``up_for``: milliseconds for which this one has been taking callbacks into the spool
        because the store was away. Raises StoreError.
        """
        now = self._clock.now()
        if last_alive_at is None or abs(now - up_for - last_alive_at) <= DOWNTIME:
            self.has_caught_up = True
            return False
        if self._looked_after is None:  # called again, it is about the same processes
            self._looked_after = now
        found = await self._work.owe_catch_up(self._looked_after, MARKED_AT_ONCE)
        if found is None:
            return False
        self._marked += found
        if found:
            return True
        gap = (now - up_for - last_alive_at) // 1000
        known = gap if gap > 0 else None
        self._log.warning("downtime_detected", gap_s=known, processes=self._marked)
        self._due.ring()
        self.has_caught_up = True
        return False
