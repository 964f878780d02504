"""Makes callbacks durable: in groups into the store, or into the spool while it cannot.

The reasons: docs/decisions/005.
"""

import asyncio
from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from reconciler.inbound.inbox_writer import InboxWriter
from reconciler.inbound.limits import Limits
from reconciler.inbound.spool_writer import SpoolWriter
from reconciler.inbound.stored_receipts import StoredReceipts
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.disk import name_of
from reconciler.store.errors import StoreUnavailableError
from reconciler.store.inbox import Receipt

MOST_AT_ONCE = 500
"""Callbacks in one transaction."""

_Group = list[tuple[Receipt, asyncio.Future[None], float]]


class NotDurableError(Exception):
    """Neither the store nor the spool has taken a callback."""


class Intake:
    """Takes receipts one by one and makes them durable together.

    Those that arrive while one group is being flushed form the next; there is no timer, so an
    idle server answers at the speed of one commit.
    """

    def __init__(
        self,
        inbox_writer: InboxWriter,
        spool_writer: SpoolWriter,
        stored: StoredReceipts,
        *,
        limits: Limits,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        """``stored`` is told of arrivals, so that applying waits for them."""
        self._inbox_writer = inbox_writer
        self._spool_writer = spool_writer
        self._stored = stored
        self._clock = clock
        self._log = log
        self._limits = limits
        self._waiting: _Group = []
        self._arrived = Bell("arrived")
        self._is_stopping = False

    @property
    def trouble(self) -> str | None:
        """Why callbacks go to the spool; None while the store takes them."""
        return self._inbox_writer.trouble

    @property
    def spooled(self) -> int:
        """How many callbacks wait in the spool."""
        return self._spool_writer.waiting

    def put(self, receipt: Receipt) -> asyncio.Future[None]:
        """Return a future that ends when ``receipt`` is durable, or with NotDurableError."""
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        arrived_at = self._clock.monotonic()
        self._stored.expect(arrived_at)
        self._waiting.append((receipt, durable, arrived_at))
        self._arrived.ring()
        return durable

    async def run(self) -> None:
        """Flush groups until ``stop`` is called and nothing waits any more."""
        while self._waiting or not self._is_stopping:
            if not self._waiting:
                await self._arrived.wait()
                continue
            group, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            lost = await self._keep([receipt for receipt, _, _ in group], since=group[0][2])
            for receipt, durable, _ in group:
                if durable.done():
                    continue
                if receipt.receipt_id in lost:
                    durable.set_exception(NotDurableError())
                else:
                    durable.set_result(None)

    def stop(self) -> None:
        """Let ``run`` end once nothing waits."""
        self._is_stopping = True
        self._arrived.ring()

    async def _keep(self, receipts: Sequence[Receipt], since: float) -> set[str]:
        """Make ``receipts`` durable; return the ids of those that nobody could keep."""
        store_until = since + self._limits.store_timeout
        if self.trouble is None and not self._inbox_writer.is_late:
            try:
                left = store_until - self._clock.monotonic()
                lost = await self._inbox_writer.put(receipts, left)
            except StoreUnavailableError as error:
                self._inbox_writer.unavailable(str(error))
            else:
                return {receipt.receipt_id for receipt in lost}
        try:
            left = store_until + self._limits.spool_timeout - self._clock.monotonic()
            await self._spool_writer.put(receipts, left)
        except OSError as error:
            self._log.error("callback_not_durable", count=len(receipts), error=name_of(error))
            return {receipt.receipt_id for receipt in receipts}
        return set()
