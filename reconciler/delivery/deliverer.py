"""The outbox worker: leases what is due, posts it within its limits, writes down what came of it.

A retry is a row with a time, never a sleeping task: a receiver that hangs costs one slot for one
time-out.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from structlog.typing import FilteringBoundLogger

from reconciler.delivery.sender import Letter, Sender
from reconciler.outbound.breaker import Breaker
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.outbox import Attempt, DeliveryState, Leased, Outbox

MOST_AT_ONCE = 800
"""Deliveries leased or written down in one transaction: some 20 ms of the writer."""

QUICK = 0.25
"""Seconds within which a helping must be gone for the next to be larger."""

RETRY = 0.5
"""Seconds until a store that did not take the results is tried again."""


class Deliverer:
    """Delivers for one instance: one task leases, some send, one writes down."""

    def __init__(
        self,
        outbox: Outbox,
        sender: Sender,
        *,
        breaker: Breaker,
        owner: str,
        max_concurrency: int,
        lease_length: int,
        now: Callable[[], int],
        monotonic: Callable[[], float],
        log: FilteringBoundLogger,
    ) -> None:
        """``lease_length`` in ms: a few times the time-out of one attempt."""
        self._outbox = outbox
        self._sender = sender
        self._breaker = breaker
        self._owner = owner
        self._slots = max_concurrency
        self._lease_length = lease_length
        self._now = now
        self._monotonic = monotonic
        self._log = log
        self._leased: asyncio.Queue[Letter | None] = asyncio.Queue()
        self._results: list[Attempt] = []
        self._unspent: list[Leased] = []
        self._in_hand = 0
        self._helping = max_concurrency
        self._helped_at = -QUICK
        self._alarm: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._has_results = asyncio.Event()
        self._is_stopping = False
        self._has_sent = False

    def wake(self) -> None:
        """Look for deliveries as soon as may be."""
        self._wake.set()

    def stop(self) -> None:
        """Begin nothing more; what is on its way is finished and written down."""
        self._is_stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver whenever woken, until ``stop``. If it fails it can be run again."""
        self._leased, self._results, self._unspent = asyncio.Queue(), [], []
        self._in_hand = 0
        leaser = asyncio.create_task(self._lease_whenever_woken())
        slots = [asyncio.create_task(self._send_each()) for _ in range(self._slots)]
        recorder = asyncio.create_task(self._record())
        tasks = {leaser, recorder, *slots}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            for _ in slots:
                self._leased.put_nowait(None)
            await asyncio.gather(*slots)
            self._has_sent = True
            self._has_results.set()
            await recorder
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
            for task in tasks:
                task.cancel()

    async def _lease_whenever_woken(self) -> None:
        while not self._is_stopping:
            await self._wake.wait()
            self._wake.clear()
            with suppress(StoreUnavailableError):  # the next tick tries again
                while not self._is_stopping and await self._lease():
                    pass

    async def _lease(self) -> bool:
        """Lease one helping; False when there is no place for it, or nothing is due.

        Helpings grow while the receiver is quick, so that the writer is asked seldom; when it is
        slow they are no larger than the slots, so that no lease runs out in our hands.
        """
        allowance = self._breaker.allowance()
        if allowance == 0:
            self._look_again_in(self._breaker.seconds_to_probe())
            return False
        if self._leased.qsize() > self._helping // 2 or (allowance is not None and self._in_hand):
            return False
        began = self._monotonic()
        is_quick = began - self._helped_at < QUICK
        if not is_quick and not await self._outbox.has_due(self._now()):
            return False
        self._helping = min(self._helping * 2, MOST_AT_ONCE) if is_quick else self._slots
        self._helped_at = began
        rows = await self._outbox.claim(
            self._helping if allowance is None else allowance,
            owner=self._owner,
            now=self._now(),
            length=self._lease_length,
        )
        self._in_hand += len(rows)
        for row in rows:
            self._leased.put_nowait(self._sender.sign(row))
        return bool(rows)

    async def _send_each(self) -> None:
        while (letter := await self._leased.get()) is not None:
            if self._may_send(letter.row):
                self._results.append(await self._send(letter))
            else:
                self._unspent.append(letter.row)
            self._have_written_down()
            if self._leased.qsize() <= self._helping // 2:
                self._wake.set()

    def _have_written_down(self) -> None:
        """Wake the recorder for a whole helping, or for less when nothing more is leased."""
        count = len(self._results) + len(self._unspent)
        if count and (count >= self._helping or not self._leased.qsize()):
            self._has_results.set()

    def _may_send(self, row: Leased) -> bool:
        """Tell whether the attempt may begin: parked work costs none, nor does a late lease."""
        has_time = self._now() < row.until - self._lease_length // 2
        return has_time and not self._is_stopping and self._breaker.allowance() != 0

    async def _send(self, letter: Letter) -> Attempt:
        row = letter.row
        self._breaker.probe_started(row.process_id)
        try:
            return await self._sender.send(letter)
        except Exception as error:  # noqa: BLE001 (a task's border: one bug must not stop the rest)
            self._log.error("delivery_crashed", delivery_id=row.webhook_id, exc_info=error)
            self._breaker.probe_abandoned()
            later = self._now() + self._lease_length
            return Attempt(row, DeliveryState.PENDING, "internal_error", later)

    async def _record(self) -> None:
        while self._results or self._unspent or not self._has_sent:
            if not self._has_sent:
                await self._has_results.wait()
                self._has_results.clear()
            batch, returned = self._results[:MOST_AT_ONCE], self._unspent[:MOST_AT_ONCE]
            try:
                await self._write(batch, returned)
            except StoreUnavailableError:
                if self._is_stopping:
                    self._tell(self._results)
                    return  # the leases run out, and they are sent once more
                await asyncio.sleep(RETRY)
                self._has_results.set()
                continue
            self._tell(batch)
            del self._results[: len(batch)]
            del self._unspent[: len(returned)]
            self._in_hand -= len(batch) + len(returned)
            self._wake.set()  # the next news of the same processes may go now
            self._has_results.clear()  # it was set again by what came beside this batch
            self._have_written_down()

    def _tell(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            self._sender.tell(attempt)

    async def _write(self, batch: Sequence[Attempt], returned: Sequence[Leased]) -> None:
        """Write down what became of ``batch``; one that the store refuses fails alone."""
        try:
            await self._outbox.record(batch, returned, owner=self._owner, now=self._now())
        except StoreUnavailableError:
            raise
        except StoreError as error:
            if len(batch) > 1:
                for attempt in batch:
                    await self._write([attempt], [])
                return
            for attempt in batch:
                key = attempt.row.process_id
                self._log.error("result_not_recorded", process_id=key, error=str(error))

    def _look_again_in(self, seconds: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_later(max(seconds, 0.01), self.wake)
