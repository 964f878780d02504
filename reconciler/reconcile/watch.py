"""The chores of the ledger: what turns overdue, what a dead daemon has left, what a clock did."""

from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from reconciler.ledger import Rules
from reconciler.store.journal import announce
from reconciler.store.work import WorkQueue

MOST_AT_ONCE = 100
"""Processes in one transaction: some 20 ms of the writer."""

DOWNTIME = 30_000
"""Milliseconds without a heartbeat of any instance after which callbacks may have been lost."""


class Watch:
    """Looks at the ledger with each tick. Makes no calls, so it goes on whatever Assure does."""

    def __init__(
        self,
        work: WorkQueue,
        *,
        rules: Callable[[], Rules],
        now: Callable[[], int],
        on_due: Callable[[], None],
        log: FilteringBoundLogger,
    ) -> None:
        self._work = work
        self._rules = rules
        self._now = now
        self._on_due = on_due
        self._log = log
        self._seen_at = 0

    async def tick(self) -> None:
        """Turn overdue what is due, and wake the sweeper."""
        now = self._now()
        if now < self._seen_at:
            await self.mend_clock()
        self._seen_at = now
        while changes := await self._work.turn_overdue(self._rules(), self._now(), MOST_AT_ONCE):
            announce(self._log, changes)
            self._on_due()
        self._on_due()

    async def mend_clock(self) -> None:
        """Let nothing wait longer because the clock has jumped back."""
        mended = 0
        while found := await self._work.mend_clock(self._rules(), self._now(), MOST_AT_ONCE):
            mended += found
        if mended:
            self._log.warning("clock_jumped_back", processes=mended)

    async def after_downtime(self, last_alive_at: int | None) -> None:
        """Have each process that was waiting looked at once, if callbacks may be lost."""
        now = self._now()
        if last_alive_at is None or now - last_alive_at <= DOWNTIME:
            return
        marked = 0
        while found := await self._work.owe_catch_up(now, MOST_AT_ONCE):
            marked += found
        gap = (now - last_alive_at) // 1000
        self._log.warning("downtime_detected", gap_s=gap, processes=marked)
        self._on_due()
