"""Starts the waits of processes and deliveries again after the wall clock was put back.

The rows tell by themselves: they know when their wait or lease was decided, and that was later
than now. Each piece of work is bounded; a caller that gets True calls again.
"""

from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from reconciler.config import InForce
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.outbox import Outbox
from reconciler.store.work_queue import WorkQueue

MOST_AT_ONCE = 100
"""Processes in one transaction: some 20 ms of the writer."""

DELIVERIES_AT_ONCE = 1_000
"""Deliveries in one transaction: a plain update, some 10 ms."""

JUMP = 1_000
"""Milliseconds that the wall clock may fall behind the monotonic one between two looks."""


class ClockMender:
    """Lets nothing wait longer than its own wait or lease after a jump back of the clock."""

    def __init__(
        self,
        work: WorkQueue,
        outbox: Outbox,
        current: Current[InForce],
        *,
        owner: str,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        """``owner``: in whose name deliveries are leased here."""
        self._work = work
        self._outbox = outbox
        self._current = current
        self._owner = owner
        self._clock = clock
        self._log = log
        self._seen = (clock.now(), clock.monotonic())
        self._processes: Sequence[str] = ()
        self._deliveries: Sequence[int] = ()
        self._is_mending = self._has_looked = False
        self._mended = {"processes": 0, "deliveries": 0}

    async def tick(self) -> bool:
        """Mend one batch if the clock has jumped; True where there are more. Raises StoreError."""
        if self._has_jumped_back():
            self._is_mending = True
        if self._is_mending:
            self._is_mending = await self.mend()
        return self._is_mending

    def _has_jumped_back(self) -> bool:
        """Tell whether the wall clock has fallen behind the monotonic one since the last look."""
        (wall, monotonic), self._seen = self._seen, (self._clock.now(), self._clock.monotonic())
        passed = self._seen[0] - wall
        return passed < (self._seen[1] - monotonic) * 1000 - JUMP

    async def mend(self) -> bool:
        """Mend one batch of what lies ahead; True where there may be more. Raises StoreError."""
        if not self._has_looked:
            now = self._clock.now()
            self._processes = await self._work.ahead_of(now)
            self._deliveries = await self._outbox.ahead_of(now)
            self._has_looked = True
        if self._processes:
            await self._mend_processes()
        elif self._deliveries:
            await self._mend_deliveries()
        if self._processes or self._deliveries:
            return True
        if any(self._mended.values()):
            self._log.warning("clock_jumped_back", **self._mended)
        self._mended = dict.fromkeys(self._mended, 0)
        self._has_looked = False
        return False

    async def _mend_processes(self) -> None:
        batch, rest = self._processes[:MOST_AT_ONCE], self._processes[MOST_AT_ONCE:]
        rules, now = self._current.value.rules, self._clock.now()
        is_ours = await self._work.mend_clock(batch, rules, now)
        self._mended["processes"] += len(batch) if is_ours else 0
        self._processes = rest if is_ours else ()  # else another daemon is at it

    async def _mend_deliveries(self) -> None:
        batch, rest = self._deliveries[:DELIVERIES_AT_ONCE], self._deliveries[DELIVERIES_AT_ONCE:]
        now = self._clock.now()
        mended = await self._outbox.mend_clock(batch, owner=self._owner, now=now)
        self._mended["deliveries"] += mended
        self._deliveries = rest
