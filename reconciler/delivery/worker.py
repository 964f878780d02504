"""Leases deliveries that are due, posts them within the limits, and records the results.

A retry is a row with a time, never a sleeping task: a receiver that hangs costs one slot for one
time-out.

The reasons: docs/decisions/018 and docs/decisions/019.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from structlog.typing import FilteringBoundLogger

from reconciler.delivery.attempt import Sender, SignedRequest
from reconciler.delivery.client import DeliveryClient
from reconciler.runtime.clock import Clock
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.outbox import Attempt, Leased, Outbox

MOST_AT_ONCE = 1_000
"""Deliveries leased or written down in one transaction: some 20 ms of the writer."""

SIGNED_AHEAD = 64
"""Requests signed one after the other: that costs a third less than one at a time."""

QUICK = 0.25
"""Seconds within which a batch must be sent for the next to be larger."""

RETRY = 0.5
"""Seconds until a store that did not take the results is tried again."""

_SHORTEST_WAIT = 0.01
"""Seconds."""


class OutboxWorker:
    """Delivers with one client: one task leases, some send, one writes down. Runs once."""

    def __init__(
        self,
        outbox: Outbox,
        client: DeliveryClient,
        sender: Sender,
        *,
        owner: str,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._breaker = client.breaker
        self._slots = client.max_concurrency
        self._lease_length = client.lease_length
        self._owner = owner
        self._clock = clock
        self._log = log
        self._leased: deque[Leased] = deque()
        self._signed: deque[SignedRequest] = deque()
        self._results: list[Attempt] = []
        self._unsent: list[Leased] = []
        self._held = 0
        """Deliveries that are leased and not yet written down."""
        self._batch_size = client.max_concurrency
        self._leased_at = -QUICK
        self._wake = asyncio.Event()
        self._has_leased = asyncio.Event()
        self._has_results = asyncio.Event()
        self._is_stopping = False
        self._is_leasing = False
        self._has_news = False
        self._came_short = False
        self._has_leased_all = False
        self._has_sent = False

    def wake(self) -> None:
        """Look for deliveries as soon as may be."""
        self._has_news = True
        self._wake.set()

    def stop(self) -> None:
        """Begin nothing more; what is on its way is finished and written down."""
        self._is_stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver whenever woken, until ``stop``."""
        self._breaker.probe_abandoned()  # that of a worker that failed
        async with asyncio.TaskGroup() as tasks:
            leaser = tasks.create_task(self._lease_whenever_woken())
            slots = [tasks.create_task(self._send_each()) for _ in range(self._slots)]
            tasks.create_task(self._write_whenever_woken())
            await asyncio.wait({leaser})
            self._has_leased_all = True
            self._has_leased.set()
            await asyncio.wait(slots)
            self._has_sent = True
            self._has_results.set()

    async def _lease_whenever_woken(self) -> None:
        wait: float | None = None
        while not self._is_stopping:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            self._wake.clear()
            with suppress(StoreUnavailableError):  # the next tick tries again
                while not self._is_stopping and await self._lease():
                    pass
            is_parked = self._breaker.allowance() == 0
            wait = max(self._breaker.seconds_to_probe(), _SHORTEST_WAIT) if is_parked else None

    async def _lease(self) -> bool:
        """Lease one batch; False when there is no room for it, or nothing more is due."""
        allowance = self._breaker.allowance()
        if allowance == 0 or not self._has_room() or (allowance is not None and self._held):
            return False
        if not self._is_quick() and not await self._outbox.has_due(self._clock.now()):
            return False
        with self._leasing() as most:
            rows = await self._outbox.claim(
                most if allowance is None else allowance,
                owner=self._owner,
                now=self._clock.now(),
                length=self._lease_length,
            )
            self._take(rows)
        return self._may_be_more()

    def _has_room(self) -> bool:
        left = len(self._leased) + len(self._signed)
        return left <= self._batch_size // 2 and not self._is_leasing

    def _is_quick(self) -> bool:
        return self._clock.monotonic() - self._leased_at < QUICK

    def _may_be_more(self) -> bool:
        """Tell whether more may be due: the last batch was whole, or news came after it."""
        return self._has_news or not self._came_short

    @contextmanager
    def _leasing(self) -> Iterator[int]:
        """Tell how many to lease in the block.

        Batches grow while the receiver is quick, so that the writer is asked seldom; when it is
        slow they are no larger than the slots, so that no lease runs out while it waits here.
        """
        before = self._batch_size
        self._batch_size = min(before * 8, MOST_AT_ONCE) if self._is_quick() else self._slots
        self._leased_at = self._clock.monotonic()
        self._is_leasing, self._has_news = True, False
        try:
            yield self._batch_size
        except StoreError:
            self._batch_size, self._came_short = before, False
            raise
        finally:
            self._is_leasing = False
            if self._has_news:
                self._wake.set()  # the leaser was woken meanwhile, and has found no room

    def _take(self, rows: Sequence[Leased]) -> None:
        self._came_short = len(rows) < self._batch_size
        self._held += len(rows)
        # A delivery that is leased during a stop goes back: no slot may be there any more.
        (self._unsent if self._is_stopping else self._leased).extend(rows)
        self._has_leased.set()

    async def _send_each(self) -> None:
        while self._signed or await self._sign_some():
            request = self._signed.popleft()
            row = request.row
            if self._may_send(row):
                try:
                    attempt = await self._sender.send(request)
                except Exception as error:  # noqa: BLE001 (a task's border: one bug must not stop the rest)
                    attempt = self._crashed(row, error)
                self._results.append(attempt)
            else:
                self._unsent.append(row)
            self._attempted()

    async def _sign_some(self) -> bool:
        """Wait until there are signed requests; False when there will be no more."""
        while not self._leased and not self._signed:
            if self._has_leased_all:
                return False
            self._has_leased.clear()
            await self._has_leased.wait()
        if self._signed:  # by another slot that waited
            return True
        now = self._clock.now()
        for _ in range(min(SIGNED_AHEAD, len(self._leased))):
            self._signed.append(self._sender.sign(self._leased.popleft(), now))
        return True

    def _attempted(self) -> None:
        """Wake the task that writes, or the leaser where there is little to write.

        While many are left the write is delayed, so that one transaction can record and lease.
        """
        left, made = len(self._leased) + len(self._signed), len(self._results) + len(self._unsent)
        half = self._batch_size // 2
        if not left or made >= (self._batch_size + half if left > half else half):
            self._has_results.set()
        elif left <= half and self._may_be_more():
            self._wake.set()

    def _may_send(self, row: Leased) -> bool:
        """Tell whether the attempt may begin: parked work costs none, nor does a late lease."""
        allowance = self._breaker.allowance()
        has_time = self._clock.now() < row.until - self._lease_length // 2
        if self._is_stopping or allowance == 0 or not has_time:
            return False
        if allowance is not None:
            self._breaker.probe_started(row.process_id)
        return True

    def _crashed(self, row: Leased, error: Exception) -> Attempt:
        self._log.error("delivery_crashed", delivery_id=row.webhook_id, exc_info=error)
        self._breaker.probe_abandoned()
        now = self._clock.now()
        later = now + self._lease_length
        return Attempt(row, DeliveryState.PENDING, "internal_error", later, ended_at=now)

    async def _write_whenever_woken(self) -> None:
        while self._results or self._unsent or not self._has_sent:
            if not self._has_sent:
                await self._has_results.wait()
                self._has_results.clear()
            batch, returned = self._results[:MOST_AT_ONCE], self._unsent[:MOST_AT_ONCE]
            try:
                has_leased = await self._write(batch, returned)
            except StoreUnavailableError:
                if self._is_stopping:
                    self._sender.announce(self._results)
                    return  # the leases run out, and they are sent once more
                await self._clock.sleep(RETRY)
                self._has_results.set()
                continue
            self._sender.announce(batch)
            del self._results[: len(batch)]
            del self._unsent[: len(returned)]
            self._held -= len(batch) + len(returned)
            if not has_leased:
                self.wake()  # the next news of the same processes may go now
            self._has_results.clear()  # it was set again by what came beside this batch
            if self._results or self._unsent:
                self._attempted()

    async def _write(self, batch: Sequence[Attempt], returned: Sequence[Leased]) -> bool:
        """Write down what became of ``batch``, and lease more if there is room; True if leased."""
        may_lease = self._is_quick() and self._breaker.allowance() is None and not self._is_stopping
        if not may_lease or not self._has_room():
            await self._record_each(batch, returned)
            return False
        try:
            with self._leasing() as most:
                self._take(await self._record(batch, returned, most))
        except StoreUnavailableError:
            raise
        except StoreError:
            await self._record_each(batch, returned)
            return False
        return True

    async def _record_each(self, batch: Sequence[Attempt], returned: Sequence[Leased]) -> None:
        """Write down what became of ``batch``; one that the store refuses fails alone."""
        try:
            await self._record(batch, returned)
        except StoreUnavailableError:
            raise
        except StoreError as error:
            if len(batch) + len(returned) > 1:
                for attempt in batch:
                    await self._record_each([attempt], [])
                for row in returned:
                    await self._record_each([], [row])
                return
            for row in (*(attempt.row for attempt in batch), *returned):
                key = row.process_id
                self._log.error("result_not_recorded", process_id=key, error=str(error))

    async def _record(
        self, batch: Sequence[Attempt], returned: Sequence[Leased], most: int = 0
    ) -> list[Leased]:
        return await self._outbox.record(
            batch,
            returned,
            owner=self._owner,
            now=self._clock.now(),
            most=most,
            length=self._lease_length,
        )
