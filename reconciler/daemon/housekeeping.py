"""Removes what is past its time, and gives the room back. Never in the way of a callback.

The reasons: docs/decisions/021.
"""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

from structlog.typing import FilteringBoundLogger

from reconciler.config import InForce
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.database import Database
from reconciler.store.locks import try_lock
from reconciler.store.maintenance.retention import RetentionPeriods, Stage, stages
from reconciler.store.sqlite.reclaim import FreePages, WalCleaner, small_checkpoints

SECONDS = 600.0

TARGET = 0.01
"""Seconds for which a transaction is meant to hold the writer; 0.05 is what it may."""

FIRST, LEAST, MOST = 50, 20, 1_000
"""Rows in the first transaction of a kind, and in any. Under ``LEAST`` it is the disk that is slow,
and fewer rows would not help."""

LONGEST_PAUSE = 0.05
"""Seconds between two transactions; in general as long as the first has held the writer."""

MOST_BATCHES = 20
"""Transactions in one turn, so that a stop waits for about a second; on a slow disk a few."""


class Pace:
    """How many rows one transaction takes, by how long the last one has held the writer."""

    def __init__(self) -> None:
        self.rows = FIRST

    def took(self, seconds: float) -> None:
        """Learn from a transaction of ``rows``."""
        fitting = int(self.rows * TARGET / max(seconds, 1e-6))
        self.rows = max(LEAST, min(fitting, 2 * self.rows, MOST))


class Housekeeping:
    """The job that removes old processes, old callbacks and orphaned rows, and frees pages."""

    name = "housekeeping"
    seconds = SECONDS

    def __init__(
        self,
        database: Database,
        current: Current[InForce],
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self.bell = Bell(self.name)
        self._database = database
        self._wal_cleaner = WalCleaner(database)
        self._current = current
        self._clock = clock
        self._log = log
        self._stages: deque[Stage] = deque()
        self._pace = Pace()
        self._removed: Counter[str] = Counter()
        self._longest = 0.0

    async def turn(self) -> bool:
        """Begin a round, or go on with the one that has begun; True while it is not over."""
        if not self._stages:
            retention = self._current.value.settings.retention
            periods = RetentionPeriods(retention.settled, retention.callbacks)
            self._stages.extend(stages(self._database, periods, self._clock.now()))
            self._stages.append(FreePages(self._database))
        async with small_checkpoints(self._database):
            for _ in range(MOST_BATCHES):
                if self._stages:
                    await self._batch()
        if self._stages:
            return True
        self._tell()
        await self._wal_cleaner.clean()
        return False

    async def _batch(self) -> None:
        found = await self._stages[0].find(self._pace.rows)
        if found is None:
            self._stages.popleft()
            self._pace = Pace()
        elif found:
            await self._remove(found)

    async def _remove(self, found: Sequence[Any]) -> None:
        async with self._database.write() as connection:
            begun = self._clock.monotonic()
            if not await try_lock(connection, "retention"):  # another daemon is at it
                self._stages.clear()
                return
            removed = await self._stages[0].remove(connection, found, self._pace.rows)
        held = self._clock.monotonic() - begun  # the commit is in it
        self._removed += removed
        self._longest = max(self._longest, held)
        self._pace.took(held)
        await self._clock.sleep(min(held, LONGEST_PAUSE))  # for others, who may be other programs

    def _tell(self) -> None:
        removed, self._removed = self._removed, Counter()
        longest, self._longest = self._longest, 0.0
        if removed:
            self._log.info(
                "purged",
                processes=removed["processes"],
                callbacks=removed["callbacks"],
                deliveries=removed["deliveries"],
                entries=removed["entries"],
                pages=removed["pages"],
                longest_ms=round(longest * 1000, 1),
            )
