"""The second step: what the inbox holds is applied to the ledger, in batches behind it."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from structlog.typing import FilteringBoundLogger

from reconciler.ledger import Rules
from reconciler.store.announce import announce
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.inbox import Inbox, Receipt

MOST_AT_ONCE = 200
"""Callbacks applied in one transaction: some 20 ms of the writer."""

POLITENESS = 0.2
"""Seconds that a batch waits at the most while callbacks are still being taken in: the 200 is what
Assure waits for, and applying takes several times the work."""

MOST_QUEUED = 20_000
"""Callbacks that are remembered here; what comes beyond them is found in the inbox later."""

LEFT_BEHIND = 10_000
"""Milliseconds after which a callback that was not applied is looked for in the inbox."""


class Applier:
    """Applies stored callbacks; one that failed, or whose daemon died, is found again."""

    def __init__(
        self,
        inbox: Inbox,
        *,
        rules: Callable[[], Rules],
        now: Callable[[], int],
        on_applied: Callable[[], None],
        log: FilteringBoundLogger,
        is_busy: Callable[[], bool] = lambda: False,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        """``is_busy``: whether callbacks are waiting to be made durable.

        ``on_progress`` is called with each page of a recovery, which may take minutes in all.
        """
        self._inbox = inbox
        self._rules = rules
        self._now = now
        self._on_applied = on_applied
        self._log = log
        self._is_busy = is_busy
        self._on_progress = on_progress
        self._queue: list[Receipt] = []
        self._wake = asyncio.Event()
        self._is_stopping = False

    def submit(self, receipts: Sequence[Receipt]) -> None:
        """Log what was stored, and apply it as soon as may be."""
        for receipt in receipts:
            self._log.info(
                "callback_received",
                process_id=receipt.process_id,
                dossier_id=receipt.dossier_id,
                status=receipt.status,
                receipt_id=receipt.receipt_id,
            )
        if len(self._queue) < MOST_QUEUED:
            self._queue.extend(receipts)
        self._wake.set()

    async def run(self) -> None:
        """Apply until ``stop`` is called and the queue is empty."""
        while self._queue or not self._is_stopping:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._be_polite()
            batch, self._queue = self._queue[:MOST_AT_ONCE], self._queue[MOST_AT_ONCE:]
            with suppress(StoreUnavailableError):  # they are in the inbox: ``recover`` finds them
                await self._apply(batch)
            self._on_applied()

    async def _be_polite(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + POLITENESS
        while self._is_busy() and not self._is_stopping and loop.time() < end:  # noqa: ASYNC110 (waits for nothing to happen)
            await asyncio.sleep(POLITENESS / 20)

    def stop(self) -> None:
        """Let ``run`` end once the queue is empty."""
        self._is_stopping = True
        self._wake.set()

    async def recover(self, *, everything: bool = False) -> int:
        """Apply all that the inbox holds and nobody has applied; how many that was.

        ``everything``: at start, when nothing else can be on its way to the ledger.
        """
        before = self._now() - (0 if everything else LEFT_BEHIND)
        applied = 0
        last: Receipt | None = None
        # Page by page: callbacks that cannot be applied do not stand before the others.
        with suppress(StoreUnavailableError):  # what is left is found again with the next tick
            while found := await self._inbox.unapplied(before, MOST_AT_ONCE, after=last):
                applied += await self._apply(found)
                last = found[-1]
                self._on_progress()
        if applied:
            self._on_applied()
        return applied

    async def _apply(self, batch: Sequence[Receipt]) -> int:
        """Apply ``batch``, one by one if that fails; return how many are applied now."""
        try:
            changes = await self._inbox.apply(batch, self._rules(), self._now())
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - one bad callback must not stop all others
            if len(batch) > 1:
                return sum([await self._apply([receipt]) for receipt in batch])
            self._log.error(
                "callback_not_applied",
                process_id=batch[0].process_id,
                receipt_id=batch[0].receipt_id,
                error=str(error) if isinstance(error, StoreError) else type(error).__name__,
            )
            return 0
        announce(self._log, changes)
        return len(batch)
