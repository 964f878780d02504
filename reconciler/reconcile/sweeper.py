"""The sweep: claim what is due, call, record, until nothing is due.

Everything that may have made something due rings its bell: a tick, an applied callback, a finished
call. The sweeper never sleeps on behalf of one process: a row says when its next call is due.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from structlog.typing import FilteringBoundLogger

from reconciler.config import InForce
from reconciler.ledger import CallFailed, Lane, TrackedProcess
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.reconcile.assure_connection import AssureConnection
from reconciler.reconcile.caller import Caller
from reconciler.reconcile.recorder import Recorder
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.errors import StoreUnavailableError
from reconciler.store.work_queue import WorkQueue

URGENT = (Lane.CONFIRM, Lane.ASKED, Lane.OVERDUE)

LAST_CALL = 3 / 4
"""Part of a lease after which no call leaves under it. A call lasts a quarter at most, so it has
ended before another daemon may make it."""

TOKEN_RETRY = 1.0
"""Seconds until a token is asked for again, while neither breaker nor pause says when."""

_SHORTEST_WAIT = 0.01
"""Seconds."""


class Sweeper:
    """Makes the calls of one daemon, within its budget and concurrency."""

    def __init__(
        self,
        work: WorkQueue,
        recorder: Recorder,
        assure: Current[AssureConnection],
        current: Current[InForce],
        *,
        due: Bell,
        budget: Budget,
        breaker: Breaker,
        owner: str,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        """``owner``: in whose name processes are leased."""
        self._work = work
        self._recorder = recorder
        self._assure = assure
        self._current = current
        self._due = due
        self._budget = budget
        self._breaker = breaker
        self._owner = owner
        self._clock = clock
        self._log = log
        self._calls = 0
        self._taking: asyncio.Task[int] | None = None
        self._is_stopping = False
        self.last_sweep_at: int | None = None
        """When the sweeper last looked, UTC milliseconds."""

    async def run(self) -> None:
        """Sweep whenever the bell rings, until ``stop``; then wait for the calls in flight."""
        wait: float | None = None
        async with asyncio.TaskGroup() as tasks:
            while not self._is_stopping:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._due.wait()
                wait = 0.0
                try:
                    while wait == 0.0 and not self._is_stopping:
                        wait = await self._sweep(tasks)
                except StoreUnavailableError:
                    wait = None  # the next tick tries again

    def stop(self) -> None:
        """Claim nothing more."""
        self._is_stopping = True
        if self._taking is not None:
            self._taking.cancel()
        self._due.ring()

    async def _sweep(self, tasks: asyncio.TaskGroup) -> float | None:
        """Claim a batch and start its calls.

        Returns 0 where there may be more, None where there is nothing to do until the bell rings,
        else after how many seconds calls may be allowed again.
        """
        self.last_sweep_at = self._clock.now()
        allowance = self._breaker.allowance()
        if wait := self._forbidden_for(allowance):
            return wait
        slots = self._current.value.settings.assure.max_concurrency
        most = min(slots - self._calls, slots if allowance is None else allowance)
        if most <= 0 or self._recorder.is_behind:
            return None
        lanes = await self._lanes()
        if not lanes:
            return None
        if not await self._assure.value.caller.ensure_token():
            return self._forbidden_for(self._breaker.allowance()) or TOKEN_RETRY
        catching_up = Lane.CATCH_UP in lanes
        if catching_up:
            # Paid for and not used, so that it gets half of the budget at most. It comes first:
            # where the budget is one call in all, nobody can hold two.
            self._budget.forgo(await self._take(1, tasks))
        units = await self._take(1 if catching_up else most, tasks)
        # Read now, and both together: the lease and the call are of the same settings.
        in_force, caller = self._current.value, self._assure.value.caller
        until = self._clock.monotonic() + LAST_CALL * in_force.call_lease / 1000
        claimed: list[TrackedProcess] = []
        try:
            # Waiting for the budget may have taken long: nothing is claimed on an old permission.
            if self._is_stopping or self._breaker.allowance() != allowance:
                return 0.0
            claimed = await self._claim(lanes, units, in_force, is_probe=allowance is not None)
        finally:
            self._budget.give_back(units - len(claimed))
        for process in claimed:
            if allowance is not None:
                self._breaker.probe_started(process.process_id)
            self._calls += 1
            call = self._call(caller, process, until)
            tasks.create_task(call, name=f"call {process.process_id}")
        return 0.0 if claimed else None

    async def _lanes(self) -> Sequence[Lane]:
        now = self._clock.now()
        for lane in URGENT:
            if await self._work.has_due(lane, now):
                return URGENT
        return (Lane.CATCH_UP,) if await self._work.has_due(Lane.CATCH_UP, now) else ()

    async def _claim(
        self, lanes: Sequence[Lane], most: int, in_force: InForce, *, is_probe: bool
    ) -> list[TrackedProcess]:
        async def claim(skip: str) -> list[TrackedProcess]:
            return await self._work.claim(
                lanes,
                most,
                owner=self._owner,
                rules=in_force.rules,
                now=self._clock.now(),
                length=in_force.call_lease,
                skip=skip,
            )

        last_probe = self._breaker.last_probe if is_probe else None
        # Another process than the last probe's, unless that is the only one there is.
        return (last_probe and await claim(last_probe)) or await claim("")

    async def _call(self, caller: Caller, process: TrackedProcess, until: float) -> None:
        try:
            observation = await caller.call(process, until)
        except Exception as error:  # noqa: BLE001 (a task's border: one bug must not stop the rest)
            self._log.error("call_crashed", process_id=process.process_id, exc_info=error)
            self._breaker.probe_abandoned()
            observation = CallFailed(process.attempt, "internal_error")
        finally:
            self._calls -= 1
        self._recorder.put(process.process_id, observation)
        self._due.ring()

    async def _take(self, most: int, tasks: asyncio.TaskGroup) -> int:
        """Take units from the budget, or none if the stop comes first."""
        if self._is_stopping:
            return 0
        self._taking = tasks.create_task(self._budget.take(most), name="budget")
        try:
            await asyncio.wait({self._taking})
            return 0 if self._taking.cancelled() else self._taking.result()
        finally:
            self._taking = None

    def _forbidden_for(self, allowance: int | None) -> float:
        """Seconds for which no call may be made, as breaker and budget say now; 0: one may."""
        to_probe = self._breaker.seconds_to_probe() if allowance == 0 else 0.0
        wait = max(to_probe, self._budget.paused_for)
        return max(wait, _SHORTEST_WAIT) if wait else 0.0
