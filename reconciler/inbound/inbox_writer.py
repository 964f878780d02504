"""Putting groups of callbacks into the store, so that one bad row fails alone."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from reconciler.inbound.spool import Spool
from reconciler.runtime.clock import Clock
from reconciler.store.errors import StoreUnavailableError
from reconciler.store.inbox import Receipt


class PutMany(Protocol):
    """What is needed of the inbox."""

    async def put_many(self, receipts: Sequence[Receipt]) -> None:
        """Make ``receipts`` durable. Raises StoreError."""
        ...

    async def prove(self) -> None:
        """Show by a real commit that the store takes writes. Raises StoreError."""
        ...


@dataclass(slots=True)
class Written:
    """What became of a group."""

    stored: list[Receipt] = field(default_factory=list)
    lost: list[Receipt] = field(default_factory=list)
    """What the store refuses for its content, and could not be set aside either."""


class InboxWriter:
    """Writes to the inbox; what it refuses for its content is set aside in a file."""

    def __init__(
        self, inbox: PutMany, spool: Spool, *, clock: Clock, log: FilteringBoundLogger
    ) -> None:
        self._inbox = inbox
        self._spool = spool
        self._clock = clock
        self._log = log

    async def put(self, receipts: Sequence[Receipt]) -> Written:
        """Store ``receipts`` in one transaction, or one by one if that is refused.

        Raises StoreUnavailableError; some may be stored even so.
        """
        written = Written()
        error = await self._refusal(receipts)
        if error is None:
            written.stored.extend(receipts)
            return written
        for receipt in receipts:
            error = await self._refusal([receipt])
            if error is None:
                written.stored.append(receipt)
            elif not await self._set_aside(receipt, error):
                written.lost.append(receipt)
        return written

    async def prove(self) -> None:
        """Show that the store takes writes. Raises StoreUnavailableError."""
        try:
            await self._inbox.prove()
        except StoreUnavailableError:
            raise
        except Exception as error:
            raise StoreUnavailableError(type(error).__name__) from error

    async def _refusal(self, receipts: Sequence[Receipt]) -> Exception | None:
        """Store ``receipts``, or return why not, if it may be for their content."""
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
        await self.prove()  # if the store takes nothing else either, the receipt is not at fault
        try:
            await asyncio.to_thread(self._spool.put_poison, [receipt])
        except OSError as trouble:
            self._log.error("callback_not_durable", count=1, error=type(trouble).__name__)
            return False
        self._log.error(
            "callback_poisoned", receipt_id=receipt.receipt_id, error=type(error).__name__
        )
        return True
