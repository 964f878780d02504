"""Brings spooled callbacks into the store as soon as it takes them."""

import asyncio
from contextlib import suppress
from itertools import islice

from structlog.typing import FilteringBoundLogger

from reconciler.inbound.group_commit import MOST_AT_ONCE
from reconciler.inbound.inbox_writer import InboxWriter
from reconciler.inbound.limits import Limits
from reconciler.inbound.spool import Spool
from reconciler.inbound.spool_writer import SpoolWriter
from reconciler.runtime.disk import name_of
from reconciler.store.errors import StoreUnavailableError


class Drain:
    """Empties the spool in the order of arrival, also of files that earlier daemons have left."""

    def __init__(
        self,
        spool: Spool,
        spool_writer: SpoolWriter,
        inbox_writer: InboxWriter,
        *,
        limits: Limits,
        log: FilteringBoundLogger,
    ) -> None:
        self._spool = spool
        self._spool_writer = spool_writer
        self._inbox_writer = inbox_writer
        self._log = log
        self._limits = limits
        self._trouble: str | None = None
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Drain at each interval, until ``stop``."""
        while not self._stopped.is_set():
            if not self._inbox_writer.is_late:
                await self.drain_once()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), self._limits.drain_interval)

    def stop(self) -> None:
        """Let ``run`` end. The next start drains the rest."""
        self._stopped.set()

    async def drain_once(self) -> bool:
        """Empty the spool once; False where that was not possible."""
        writer = self._inbox_writer
        try:
            if writer.trouble is not None or not await asyncio.to_thread(self._spool.is_empty):
                await writer.prove(self._limits.store_timeout)
                await self._drain_all()
                writer.recovered()
            await self._spool_writer.recount()
        except StoreUnavailableError:
            return False
        except OSError as error:
            trouble = name_of(error)
            if self._trouble != trouble:
                self._trouble = trouble
                self._log.error("spool_failed", error=trouble)
            return False
        self._trouble = None
        return True

    async def _drain_all(self) -> None:
        """Drain until nothing was spooled meanwhile, so that nothing new overtakes the old."""
        drained, begun = 0, -1
        try:
            while begun != self._spool_writer.begun or self._spool_writer.is_writing:
                begun = self._spool_writer.begun
                drained += await self._drain_files()
        finally:
            if drained:
                with suppress(OSError):  # of what is left; the next round counts again
                    await self._spool_writer.recount()
                self._log.info("spool_drained", count=drained)

    async def _drain_files(self) -> int:
        drained = 0
        files = await asyncio.to_thread(self._spool.take)
        try:
            receipts = self._spool.read(files)
            while group := await asyncio.to_thread(lambda: list(islice(receipts, MOST_AT_ONCE))):
                if await self._inbox_writer.put(group, self._limits.store_timeout):
                    raise OSError("a callback could not be set aside")
                drained += len(group)
            while files:
                await asyncio.to_thread(self._spool.drop, files[-1])
                damaged = files.pop().damaged
                if damaged:
                    self._log.warning("spool_damaged", lines=damaged)
        finally:
            self._spool.keep(files)
        return drained
