"""Making callbacks durable: in groups into the store, or into the spool while it cannot."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from reconciler.inbound.spool import Spool
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.inbox import Receipt

MOST_AT_ONCE = 500
"""Callbacks in one transaction."""

STORE_PATIENCE = 3.0
"""Seconds after its arrival within which a callback must be committed; then it is spooled."""

SPOOL_PATIENCE = 4.0
"""Seconds that the spool may take: with the store's, well inside the sender's 10 s."""

DRAIN_INTERVAL = 1.0
"""Seconds between looks whether the store takes callbacks again."""


class PutMany(Protocol):
    """What the intake needs of the inbox."""

    async def put_many(self, receipts: Sequence[Receipt]) -> None:
        """Make ``receipts`` durable. Raises StoreError."""
        ...

    async def prove(self) -> None:
        """Show by a real commit that the store takes writes. Raises StoreError."""
        ...


class NotDurableError(Exception):
    """Neither the store nor the spool has taken a callback."""


class Intake:
    """Takes receipts one by one and makes them durable together.

    Those that arrive while one group is being flushed form the next; there is no timer, so an
    idle server answers at the speed of one commit. ``on_stored`` gets what the store has taken.
    """

    def __init__(
        self,
        inbox: PutMany,
        spool: Spool,
        *,
        on_stored: Callable[[Sequence[Receipt]], None],
        log: FilteringBoundLogger,
        store_patience: float = STORE_PATIENCE,
        spool_patience: float = SPOOL_PATIENCE,
        drain_interval: float = DRAIN_INTERVAL,
    ) -> None:
        self._inbox = inbox
        self._spool = spool
        self._on_stored = on_stored
        self._log = log
        self._store_patience = store_patience
        self._spool_patience = spool_patience
        self._drain_interval = drain_interval
        self._waiting: list[tuple[Receipt, asyncio.Future[None], float]] = []
        self._wake = asyncio.Event()
        self._late: asyncio.Task[None] | None = None
        self._spooling: asyncio.Task[None] | None = None
        self._is_degraded = False
        self._is_stopping = False
        self._stopped = asyncio.Event()
        self.spooled = 0
        """Callbacks that wait in the spool."""

    @property
    def degraded(self) -> bool:
        """Whether callbacks go to the spool because the store does not take them."""
        return self._is_degraded

    def put(self, receipt: Receipt) -> asyncio.Future[None]:
        """Return a future that is done when ``receipt`` is durable, or NotDurableError."""
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()
        self._waiting.append((receipt, durable, loop.time()))
        self._wake.set()
        return durable

    async def run(self) -> None:
        """Flush groups until ``stop`` is called and nothing waits any more."""
        while self._waiting or not self._is_stopping:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            group, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            receipts = [receipt for receipt, _, _ in group]
            left = group[0][2] + self._store_patience - asyncio.get_running_loop().time()
            try:
                refused = await self._store(receipts, left)
                if refused:
                    await self._to_spool(refused)
            except (NotDurableError, OSError) as error:
                self._log.error("callback_not_durable", count=len(group), error=_word(error))
                for _, durable, _ in group:
                    if not durable.done():
                        durable.set_exception(NotDurableError())
                continue
            for _, durable, _ in group:
                if not durable.done():
                    durable.set_result(None)

    def stop(self) -> None:
        """Let ``run`` and ``drain`` end once nothing waits."""
        self._is_stopping = True
        self._stopped.set()
        self._wake.set()

    async def drain(self) -> None:
        """Bring what is in the spool into the store, whenever there is something and it can."""
        self.spooled = await asyncio.to_thread(self._spool.count)
        while not self._is_stopping:
            if (self.spooled or self._is_degraded) and self._late is None:
                await self.drain_once()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), self._drain_interval)

    async def drain_once(self) -> bool:
        """Empty the spool once; False if the store did not take it."""
        try:
            await self._inbox.prove()
            drained = await self._drain_files()
            self.spooled = await asyncio.to_thread(self._spool.count)
        except StoreError:
            return False
        except OSError as error:
            self._log.error("spool_failed", error=_word(error))
            return False
        if drained:
            self._log.info("spool_drained", count=drained)
        self._set_degraded(None)
        return True

    async def _drain_files(self) -> int:
        drained = 0
        files = await asyncio.to_thread(self._spool.take)
        try:
            while files:
                path, fd = files[-1]
                receipts, damaged = await asyncio.to_thread(self._spool.read, path)
                await self._store_each_group(receipts)
                await asyncio.to_thread(self._spool.drop, path, fd)
                files.pop()
                drained += len(receipts)
                if damaged:
                    self._log.warning("spool_damaged", lines=damaged)
        finally:
            for path, fd in files:
                self._spool.keep(path, fd)
        return drained

    async def _store_each_group(self, receipts: Sequence[Receipt]) -> None:
        ordered = sorted(receipts, key=lambda receipt: (receipt.received_at, receipt.receipt_id))
        for start in range(0, len(ordered), MOST_AT_ONCE):
            await self._put(ordered[start : start + MOST_AT_ONCE])

    async def _store(self, receipts: list[Receipt], patience: float) -> list[Receipt]:
        """Put ``receipts`` into the store; return those that must go to the spool instead."""
        if self._is_degraded or self._late is not None:
            return receipts
        task = asyncio.create_task(self._put(receipts))
        done, _ = await asyncio.wait({task}, timeout=max(patience, 0.0))
        if not done:
            # It may still succeed: then the spooled copies change nothing when they are drained.
            self._late = task
            task.add_done_callback(self._late_write_ended)
            self._set_degraded("slow")
            return receipts
        error = task.exception()
        if isinstance(error, StoreUnavailableError):
            self._set_degraded(str(error))
            return receipts
        if error is not None:
            raise error
        return []

    async def _put(self, receipts: list[Receipt]) -> None:
        """Store ``receipts``; a poisonous one is set aside alone."""
        try:
            await self._inbox.put_many(receipts)
        except StoreUnavailableError:
            raise
        except StoreError as error:
            if len(receipts) > 1:
                for receipt in receipts:
                    await self._put([receipt])
                return
            await asyncio.to_thread(self._spool.put_poison, receipts)
            self._log.error(
                "callback_poisoned",
                receipt_id=receipts[0].receipt_id,
                error=_word(error),
            )
            return
        if receipts:
            self._on_stored(receipts)

    async def _to_spool(self, receipts: list[Receipt]) -> None:
        if self._spooling is not None and not self._spooling.done():
            raise NotDurableError
        task = asyncio.create_task(asyncio.to_thread(self._spool.put_many, receipts))
        self._spooling = task
        done, _ = await asyncio.wait({task}, timeout=self._spool_patience)
        if not done:
            task.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise NotDurableError
        task.result()
        self.spooled += len(receipts)
        for receipt in receipts:
            self._log.info(
                "callback_spooled",
                process_id=receipt.process_id,
                dossier_id=receipt.dossier_id,
                status=receipt.status,
                receipt_id=receipt.receipt_id,
            )

    def _late_write_ended(self, task: asyncio.Task[None]) -> None:
        self._late = None
        if not task.cancelled():
            task.exception()  # whatever it was: the group is in the spool

    def _set_degraded(self, reason: str | None) -> None:
        if self._is_degraded == (reason is not None):
            return
        self._is_degraded = reason is not None
        if reason is not None:
            self._log.error("store_unavailable", reason=reason)
        else:
            self._log.info("store_recovered")


def _word(error: BaseException) -> str:
    return type(error).__name__
