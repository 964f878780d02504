"""Writes callbacks to the spool from the event loop, within a time limit."""

import asyncio
from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from reconciler.inbound.spool import Spool
from reconciler.runtime.bounded_wait import wait_at_most
from reconciler.store.inbox import Receipt


class SpoolWriter:
    """Writes one group after the other in a thread; gives up a write that hangs."""

    def __init__(self, spool: Spool, log: FilteringBoundLogger) -> None:
        self._spool = spool
        self._log = log
        self._writing: asyncio.Task[None] | None = None
        self.begun = 0
        """The number of writes begun so far; where it has changed, the spool may have more."""
        self.waiting = 0
        """Callbacks that wait in the spool."""

    @property
    def is_writing(self) -> bool:
        """Whether a write runs, or hangs."""
        return self._writing is not None and not self._writing.done()

    async def put(self, receipts: Sequence[Receipt], seconds: float) -> None:
        """Make ``receipts`` durable.

        Raises OSError; after ``seconds``, or at once while an earlier write hangs, TimeoutError.
        """
        if self.is_writing:
            raise TimeoutError
        self.begun += 1
        self._writing = asyncio.create_task(asyncio.to_thread(self._spool.put_many, receipts))
        await wait_at_most(self._writing, seconds)
        self.waiting += len(receipts)
        for receipt in receipts:
            self._log.info(
                "callback_spooled",
                process_id=receipt.process_id,
                dossier_id=receipt.dossier_id,
                status=receipt.status,
                receipt_id=receipt.receipt_id,
            )

    async def recount(self) -> None:
        """Count ``waiting`` anew, for others write and drain too. Raises OSError."""
        before, was_writing = self.begun, self.is_writing
        count = await asyncio.to_thread(self._spool.count)
        if before == self.begun and not was_writing:
            self.waiting = count
