"""Writes the results of calls to the ledger, those that come together in one transaction."""

import asyncio
from collections.abc import Callable, Sequence

from structlog.typing import FilteringBoundLogger

from reconciler.ledger import Observation, Outcome, Rules
from reconciler.runtime.clock import Clock
from reconciler.store.announce import announce
from reconciler.store.apply import Observed
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.work_queue import WorkQueue

MOST_AT_ONCE = 100
RETRY = 0.5
"""Seconds until a store that did not take the results is tried again."""


class Recorder:
    """Keeps results until the store has them. What is lost with us, a lease's end repeats."""

    def __init__(
        self,
        work: WorkQueue,
        *,
        rules: Callable[[], Rules],
        clock: Clock,
        on_recorded: Callable[[Sequence[Outcome]], None],
        log: FilteringBoundLogger,
    ) -> None:
        self._work = work
        self._rules = rules
        self._clock = clock
        self._on_recorded = on_recorded
        self._log = log
        self._queue: list[Observed] = []
        self._wake = asyncio.Event()
        self._is_stopping = False

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for the store that no more calls should be made."""
        return len(self._queue) >= MOST_AT_ONCE

    def put(self, process_id: str, observation: Observation) -> None:
        """Record ``observation`` as soon as may be."""
        self._queue.append((process_id, observation))
        self._wake.set()

    async def run(self) -> None:
        """Record until ``stop`` is called and the queue is empty."""
        while self._queue or not self._is_stopping:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
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
        self._wake.set()

    async def _record(self, batch: Sequence[Observed]) -> None:
        try:
            changes = await self._work.record(batch, self._rules(), self._clock.now())
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
        self._on_recorded([outcome for _, outcome in changes])
