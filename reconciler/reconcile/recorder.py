"""Writes the results of calls to the ledger, those that come together in one transaction."""

from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from reconciler.config import InForce
from reconciler.ledger import Observation
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.announce import announce
from reconciler.store.apply import Observed
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.work_queue import WorkQueue

MOST_AT_ONCE = 100
"""Results in one transaction."""

RETRY = 0.5
"""Seconds until a store that did not take the results is tried again."""


class Recorder:
    """Keeps results until the store has them, and rings ``due`` and ``news`` when it has.

    A result that is lost with this process costs a call: it is made again when its lease ends.
    """

    def __init__(
        self,
        work: WorkQueue,
        current: Current[InForce],
        *,
        due: Bell,
        news: Bell,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self._work = work
        self._current = current
        self._due = due
        self._news = news
        self._clock = clock
        self._log = log
        self._queue: list[Observed] = []
        self._queued = Bell("results")
        self._is_stopping = False

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for the store that no more calls should be made."""
        return len(self._queue) >= MOST_AT_ONCE

    def put(self, process_id: str, observation: Observation) -> None:
        """Record ``observation`` as soon as may be."""
        self._queue.append((process_id, observation))
        self._queued.ring()

    async def run(self) -> None:
        """Record until ``stop`` is called and the queue is empty."""
        while self._queue or not self._is_stopping:
            if not self._queue:
                await self._queued.wait()
                continue
            batch = self._queue[:MOST_AT_ONCE]
            try:
                await self._record(batch)
            except StoreUnavailableError:
                if self._is_stopping:
                    return
                await self._clock.sleep(RETRY)
                continue
            del self._queue[: len(batch)]

    def stop(self) -> None:
        """Let ``run`` end once the queue is empty, or the store does not take it."""
        self._is_stopping = True
        self._queued.ring()

    async def _record(self, batch: Sequence[Observed]) -> None:
        try:
            changes = await self._work.record(batch, self._current.value.rules, self._clock.now())
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 (one poisoned result must not stop the rest)
            if len(batch) > 1:
                for observed in batch:
                    await self._record([observed])
                return
            process_id = batch[0][0]
            if isinstance(error, StoreError):
                self._log.error("result_not_recorded", process_id=process_id, error=str(error))
            else:
                self._log.error("result_not_recorded", process_id=process_id, exc_info=error)
            return
        announce(self._log, changes)
        self._due.ring()
        self._news.ring()
