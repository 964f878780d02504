"""The chores of the ledger: what turns overdue, what a dead daemon has left, what a clock did."""

from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from reconciler.ledger import Rules
from reconciler.runtime.clock import Clock
from reconciler.store.announce import announce
from reconciler.store.work_queue import WorkQueue

MOST_AT_ONCE = 100
"""Processes in one transaction: some 20 ms of the writer."""

MARKED_AT_ONCE = 1_000
"""Processes marked in one transaction: a plain update, some 10 ms."""

MOST_BATCHES = 50
"""Transactions in one tick, so that a tick of a large ledger ends in about a second."""

JUMP = 1_000
"""Milliseconds that the wall clock may fall behind the monotonic one between two ticks."""

DOWNTIME = 30_000
"""Milliseconds without a heartbeat of any instance after which callbacks may have been lost."""


class OverdueChecker:
    """Looks at the ledger with each tick. Makes no calls, so it goes on whatever Assure does."""

    def __init__(
        self,
        work: WorkQueue,
        *,
        rules: Callable[[], Rules],
        clock: Clock,
        on_due: Callable[[], None],
        log: FilteringBoundLogger,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_progress`` is called with each batch of what may take minutes in all."""
        self._work = work
        self._rules = rules
        self._clock = clock
        self._on_due = on_due
        self._log = log
        self._on_progress = on_progress
        self._seen = (clock.now(), clock.monotonic())
        self._looked_after: int | None = None

    async def tick(self) -> bool:
        """Turn overdue what is due, and wake the sweeper; True where there is more to turn."""
        if self._has_jumped_back():
            await self.mend_clock()
        for _ in range(MOST_BATCHES):
            changes = await self._work.turn_overdue(self._rules(), self._clock.now(), MOST_AT_ONCE)
            announce(self._log, changes)
            self._on_due()
            if not changes:
                return False
        return True

    def _has_jumped_back(self) -> bool:
        """Tell whether the wall clock has fallen behind the monotonic one since the last tick."""
        (wall, monotonic), self._seen = self._seen, (self._clock.now(), self._clock.monotonic())
        gone_by = self._seen[0] - wall
        return gone_by < (self._seen[1] - monotonic) * 1000 - JUMP

    async def mend_clock(self) -> None:
        """Let nothing wait longer because the clock has jumped back."""
        mended = await self._work.mend_clock(self._rules(), self._clock.now(), MOST_AT_ONCE)
        if mended:
            self._log.warning("clock_jumped_back", processes=mended)

    async def after_downtime(self, last_alive_at: int | None, *, up_for: int = 0) -> bool:
        """Have each process that was waiting looked at once, if callbacks may be lost.

        False where another daemon is at it, and may die before it is done: to be called again.

        ``up_for``: milliseconds for which we have been taking callbacks ourselves, into the
        spool, because the store was away.
        """
        now = self._clock.now()
        if last_alive_at is None or now - up_for - last_alive_at <= DOWNTIME:
            return True
        if self._looked_after is None:  # called again, it is about the same processes
            self._looked_after = now
        marked = 0
        while found := await self._work.owe_catch_up(self._looked_after, MARKED_AT_ONCE):
            marked += found
            self._on_progress()
        if found is None:
            return False
        gap = (now - up_for - last_alive_at) // 1000
        self._log.warning("downtime_detected", gap_s=gap, processes=marked)
        self._on_due()
        return True
