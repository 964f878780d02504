"""What a daemon says of itself: its heartbeat in the store, the summary in the log, readiness."""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from structlog.typing import FilteringBoundLogger

from reconciler import __version__
from reconciler.admin.health import Readiness
from reconciler.daemon.membership import Membership
from reconciler.inbound.intake import Intake
from reconciler.inbound.listener import Listener
from reconciler.inbound.spool import Spool
from reconciler.ledger import Outcome
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.reconcile.sweeper import Sweeper
from reconciler.runtime.clock import age
from reconciler.store.errors import StoreError
from reconciler.store.instances import Instance
from reconciler.store.open import Store

STORE_PATIENCE = 3.0
"""Seconds after which a store that has not committed counts as out of order."""

SPOOL_PATIENCE = 4.0


class Vitals:
    """The vital signs of one instance."""

    def __init__(
        self,
        instance_id: str,
        store: Store,
        spool: Spool,
        *,
        requests_per_second: float,
        now: Callable[[], int],
        log: FilteringBoundLogger,
    ) -> None:
        self.instance_id = instance_id
        self._store = store
        self._spool = spool
        self.requests_per_second = requests_per_second
        """The configured rate of calls; told to the other instances with each heartbeat."""
        self._now = now
        self._log = log
        self._started_at = now()
        self._counted: Counter[str] = Counter()

    def attend(
        self,
        *,
        intake: Intake,
        listener: Listener,
        sweeper: Sweeper,
        breaker: Breaker,
        budget: Budget,
        membership: Membership,
    ) -> None:
        """Take the parts whose state is told."""
        self._intake = intake
        self._listener = listener
        self._sweeper = sweeper
        self._breaker = breaker
        self._budget = budget
        self._membership = membership

    def stored(self, callbacks: int) -> None:
        """Count callbacks that the store has taken."""
        self._counted["callbacks"] += callbacks

    def recorded(self, outcomes: Sequence[Outcome]) -> None:
        """Count calls, and processes that they have settled."""
        self._counted["calls"] += len(outcomes)
        self._counted["settlements"] += sum(
            any(entry.event == "process_settled" for entry in outcome.entries)
            for outcome in outcomes
        )

    def instance(self) -> Instance:
        """Return what is to be said now."""
        return Instance(
            instance_id=self.instance_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            started_at=self._started_at,
            heartbeat_at=self._now(),
            last_sweep_at=self._sweeper.last_sweep_at,
            breaker=self._breaker.state,
            spooled=self._intake.spooled,
            requests_per_second=self.requests_per_second,
        )

    async def beat(self) -> None:
        """Write the heartbeat."""
        await self._membership.renew(self.instance)

    async def summarize(self, log_lines_dropped: int, free_mb: Mapping[str, int]) -> None:
        """Log the whole in numbers, with what was done since the last time."""
        counts = await self._store.views.counts()
        now = self._now()
        counted, self._counted = self._counted, Counter()
        self._log.info(
            "summary",
            **counts.states,
            oldest_overdue_s=age(counts.overdue_since, now),
            oldest_reported_s=age(counts.reported_since, now),
            last_callback_age_s=age(counts.last_callback_at, now),
            callbacks=counted["callbacks"],
            settlements=counted["settlements"],
            calls=counted["calls"],
            calls_per_second=round(self._budget.rate, 3),
            rejected_total=sum(self._listener.rejected.values()),
            breaker=self._breaker.state,
            deliveries_pending=counts.deliveries_pending,
            deliveries_dead=counts.deliveries_dead,
            oldest_pending_s=age(counts.deliveries_pending_since, now),
            spooled=self._intake.spooled,
            log_lines_dropped=log_lines_dropped,
            store_free_mb=free_mb.get("store"),
            spool_free_mb=free_mb.get("spool"),
        )

    async def until_ready(self, stop: asyncio.Event, is_over: Callable[[], bool]) -> bool:
        """Wait until callbacks are kept, by the store or the spool; False if we end before."""
        while not (stop.is_set() or is_over()):
            if (await self.readiness()).is_ready:
                return True
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)
        return False

    async def readiness(self) -> Readiness:
        """Tell whether a callback would be kept: by a real commit, else a real spool file."""
        degraded = [] if self._breaker.state == "closed" else [f"assure: {self._breaker.state}"]
        trouble = self._intake.trouble or await _trouble(self._store.inbox.prove(), STORE_PATIENCE)
        if trouble is None:
            return Readiness(True, tuple(degraded))
        degraded.append(f"store: {trouble}; callbacks go to the spool")
        probe = asyncio.to_thread(self._spool.probe)
        if await _trouble(probe, SPOOL_PATIENCE) is None:
            return Readiness(True, tuple(degraded))
        degraded.append("spool: does not take callbacks")
        return Readiness(False, tuple(degraded), "neither the store nor the spool takes callbacks")


async def _trouble(proof: Coroutine[Any, Any, None], seconds: float) -> str | None:
    """Return why ``proof`` fails, or None. It is not cancelled: that could cut a commit."""
    task = asyncio.create_task(proof)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    task.add_done_callback(lambda late: late.cancelled() or late.exception())
    if not done:
        return "no answer in time"
    error = task.exception()
    if error is None:
        return None
    return str(error) if isinstance(error, StoreError) else type(error).__name__
