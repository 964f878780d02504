"""Writes groups of callbacks into the store within a time limit. One bad row fails alone."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from structlog.typing import FilteringBoundLogger

from reconciler.inbound.spool import Spool
from reconciler.inbound.stored_receipts import StoredReceipts
from reconciler.runtime.bounded_wait import wait_at_most
from reconciler.runtime.clock import Clock
from reconciler.runtime.disk import name_of
from reconciler.store.errors import StoreUnavailableError
from reconciler.store.inbox import Inbox, Receipt

_T = TypeVar("_T")


class InboxWriter:
    """Writes to the inbox, and knows whether the store takes callbacks.

    A write that takes too long is not cancelled, for that could cut a commit. If it succeeds late
    it changes nothing: the callbacks are in the spool as well, and stored only once.
    """

    def __init__(
        self,
        inbox: Inbox,
        spool: Spool,
        stored: StoredReceipts,
        *,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        """``spool`` takes what the store refuses for its content, ``stored`` the rest."""
        self._inbox = inbox
        self._spool = spool
        self._stored = stored
        self._clock = clock
        self._log = log
        self._late: set[asyncio.Task[Any]] = set()
        self.trouble: str | None = None
        """Why the store does not take callbacks; None while it does."""

    @property
    def is_late(self) -> bool:
        """Whether a write still runs that was given up. A store that hangs is not asked again."""
        return bool(self._late)

    def unavailable(self, reason: str) -> None:
        """Let callbacks go to the spool until ``recovered``."""
        if self.trouble is None:
            self.trouble = reason
            self._log.error("store_unavailable", reason=reason)

    def recovered(self) -> None:
        """Let callbacks go to the store again."""
        if self.trouble is not None:
            self.trouble = None
            self._log.info("store_recovered")

    async def put(self, receipts: Sequence[Receipt], seconds: float) -> list[Receipt]:
        """Store ``receipts`` in one transaction, or one by one if that is refused.

        Returns those that the store refuses for their content and that could not be set aside.
        Raises StoreUnavailableError, after ``seconds`` at the latest; some may be stored even so.
        """
        stored, lost = await self._in_time(self._put(receipts), seconds)
        if stored:
            self._tell(stored)
        return lost

    async def prove(self, seconds: float) -> None:
        """Show within ``seconds`` that the store takes writes. Raises StoreUnavailableError.

        After a full disk there must be room for more than the proof.
        """
        if self.trouble is not None and "is full" in self.trouble:
            await self._in_time(self._inbox.check_room(), seconds)
        await self._in_time(self._prove(), seconds)

    async def _in_time(self, work: Coroutine[Any, Any, _T], seconds: float) -> _T:
        task = asyncio.create_task(work)
        try:
            return await wait_at_most(task, seconds)
        except TimeoutError:
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            self.unavailable("slow")
            raise StoreUnavailableError("slow") from None

    async def _put(self, receipts: Sequence[Receipt]) -> tuple[Sequence[Receipt], list[Receipt]]:
        if await self._refusal(receipts) is None:
            return receipts, []
        stored, lost = [], []
        for receipt in receipts:
            error = await self._refusal([receipt])
            if error is None:
                stored.append(receipt)
            elif not await self._set_aside(receipt, error):
                lost.append(receipt)
        return stored, lost

    async def _prove(self) -> None:
        try:
            await self._inbox.prove()
        except StoreUnavailableError:
            raise
        except Exception as error:
            raise StoreUnavailableError(type(error).__name__) from error

    async def _refusal(self, receipts: Sequence[Receipt]) -> Exception | None:
        """Store ``receipts``; return the error where it may be due to their content."""
        begun = self._clock.monotonic()
        try:
            await self._inbox.put_many(receipts)
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - no callback is lost to a bug behind us
            return error
        seconds = self._clock.monotonic() - begun
        self._log.debug("callbacks_committed", count=len(receipts), seconds=seconds)
        return None

    async def _set_aside(self, receipt: Receipt, error: Exception) -> bool:
        await self._prove()  # fails where the store takes nothing at all: no fault of the receipt
        try:
            await asyncio.to_thread(self._spool.put_poison, [receipt])
        except OSError as trouble:
            self._log.error("callback_not_durable", count=1, error=name_of(trouble))
            return False
        self._log.error(
            "callback_poisoned", receipt_id=receipt.receipt_id, error=type(error).__name__
        )
        return True

    def _tell(self, receipts: Sequence[Receipt]) -> None:
        for receipt in receipts:
            self._log.info(
                "callback_received",
                process_id=receipt.process_id,
                dossier_id=receipt.dossier_id,
                status=receipt.status,
                receipt_id=receipt.receipt_id,
            )
        self._stored.put(receipts)
