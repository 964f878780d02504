"""The sweep: claim what is due, call, record, until nothing is due.

Everything that may have made something due wakes it: a tick, an applied callback, a finished
call. It never sleeps on behalf of one process: when a call is to be made again is a row's affair.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from structlog.typing import FilteringBoundLogger

from reconciler.ledger import CallFailed, Lane, Rules, TrackedProcess
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.reconcile.caller import Caller
from reconciler.reconcile.recorder import Recorder
from reconciler.runtime.clock import Clock
from reconciler.store.errors import StoreUnavailableError
from reconciler.store.work_queue import WorkQueue

URGENT = (Lane.CONFIRM, Lane.ASKED, Lane.OVERDUE)

LAST_CALL = 3 / 4
"""Part of a lease after which no call leaves under it: one lasts a quarter at most, so it has come
back before another daemon may make it."""

TOKEN_RETRY = 1.0
"""Seconds until a token is asked for again, while neither breaker nor pause says when."""


class Sweeper:
    """Runs the calls of one instance, within its budget and concurrency."""

    def __init__(
        self,
        work: WorkQueue,
        caller: Caller,
        recorder: Recorder,
        *,
        budget: Budget,
        breaker: Breaker,
        owner: str,
        max_concurrency: int,
        lease_length: int,
        rules: Callable[[], Rules],
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        """``lease_length`` in ms: four times what one exchange may last."""
        self._work = work
        self._caller = caller
        self._recorder = recorder
        self._budget = budget
        self._breaker = breaker
        self._owner = owner
        self._most = max_concurrency
        self._lease_length = lease_length
        self._rules = rules
        self._clock = clock
        self._log = log
        self._calls: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self.last_sweep_at: int | None = None
        """When the sweeper last looked, UTC milliseconds."""

    def wake(self) -> None:
        """Look for work as soon as may be."""
        self._wake.set()

    def use(self, caller: Caller, *, max_concurrency: int, lease_length: int) -> None:
        """Make the next calls with ``caller``; those under way end as they began."""
        self._caller = caller
        self._most = max_concurrency
        self._lease_length = lease_length

    async def run(self) -> None:
        """Sweep whenever woken, until ``stop``; then wait for the calls in flight."""
        try:
            while not self._stop.is_set():
                await self._wake.wait()
                self._wake.clear()
                with suppress(StoreUnavailableError):  # the next tick tries again
                    while not self._stop.is_set() and await self._sweep_once():
                        pass
            if self._calls:
                await asyncio.wait(self._calls)
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
            for call in self._calls:  # only where we are cut short
                call.cancel()

    def stop(self) -> None:
        """Claim nothing more."""
        self._stop.set()
        self._wake.set()

    async def _sweep_once(self) -> bool:
        """Claim and start one helping of calls; False when there is nothing to do now."""
        self.last_sweep_at = self._clock.now()
        allowance = self._breaker.allowance()
        if wait := self._forbidden_for(allowance):
            self._wake_later(wait)
            return False
        most = min(self._most - len(self._calls), self._most if allowance is None else allowance)
        if most <= 0 or self._recorder.is_behind:
            return False
        lanes = await self._lanes()
        if not lanes:
            return False
        if not await self._caller.ensure_token():
            self._wake_later(self._forbidden_for(self._breaker.allowance()) or TOKEN_RETRY)
            return False
        catching_up = Lane.CATCH_UP in lanes
        if catching_up:
            # Paid for and not used: so it gets half of the budget at most. Before the one that is
            # used, for where the budget is one call in all, nobody can hold two.
            self._budget.forgo(await self._take(1))
        units = await self._take(1 if catching_up else most)
        until = self._clock.monotonic() + LAST_CALL * self._lease_length / 1000
        claimed: list[TrackedProcess] = []
        caller = self._caller  # the lease and the call are of the same settings
        try:
            # Waiting for the budget may have taken long: nothing is claimed on an old permission.
            if self._stop.is_set() or self._breaker.allowance() != allowance:
                return True
            claimed = await self._claim(lanes, units, is_probe=allowance is not None)
        finally:
            self._budget.give_back(units - len(claimed))
        for process in claimed:
            if allowance is not None:
                self._breaker.probe_started(process.process_id)
            call = asyncio.create_task(
                self._call(caller, process, until), name=f"call {process.process_id}"
            )
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        return bool(claimed)

    async def _lanes(self) -> Sequence[Lane]:
        now = self._clock.now()
        for lane in URGENT:
            if await self._work.has_due(lane, now):
                return URGENT
        return (Lane.CATCH_UP,) if await self._work.has_due(Lane.CATCH_UP, now) else ()

    async def _claim(
        self, lanes: Sequence[Lane], most: int, *, is_probe: bool
    ) -> list[TrackedProcess]:
        async def claim(skip: str) -> list[TrackedProcess]:
            return await self._work.claim(
                lanes,
                most,
                owner=self._owner,
                rules=self._rules(),
                now=self._clock.now(),
                length=self._lease_length,
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
        self._recorder.put(process.process_id, observation)
        self.wake()

    async def _take(self, most: int) -> int:
        """Take units from the budget, or none if the stop comes first."""
        taking = asyncio.create_task(self._budget.take(most))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({taking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return taking.result() if taking.done() else 0
        finally:
            taking.cancel()
            stopping.cancel()

    def _forbidden_for(self, allowance: int | None) -> float:
        """Seconds for which no call may be made, as breaker and budget say now; 0: one may."""
        to_probe = self._breaker.seconds_to_probe() if allowance == 0 else 0.0
        return max(to_probe, self._budget.paused_for)

    def _wake_later(self, seconds: float) -> None:
        if self._alarm is not None:  # one at a time: each look decides anew when the next is
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_later(max(seconds, 0.01), self.wake)
