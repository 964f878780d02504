"""Making callbacks durable: in groups into the store, or into the spool while it cannot.

The reasons: docs/decisions/005.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, TypeVar

from structlog.typing import FilteringBoundLogger

from reconciler.inbound.inbox_writer import InboxWriter, PutMany
from reconciler.inbound.spool import Spool
from reconciler.runtime.clock import Clock
from reconciler.store.errors import StoreUnavailableError
from reconciler.store.inbox import Receipt

MOST_AT_ONCE = 500
"""Callbacks in one transaction."""

STORE_PATIENCE = 3.0
"""Seconds after its arrival within which a callback must be committed; then it is spooled."""

SPOOL_PATIENCE = 4.0
"""Seconds that the spool may take after that: together well inside the sender's 10 s."""

DRAIN_INTERVAL = 1.0
"""Seconds between looks whether something is in the spool, and the store takes it."""

BUSY = 0.01
"""Seconds since the last callback for which more are expected."""

_T = TypeVar("_T")
_Group = list[tuple[Receipt, asyncio.Future[None], float]]


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
        clock: Clock,
        log: FilteringBoundLogger,
        store_patience: float = STORE_PATIENCE,
        spool_patience: float = SPOOL_PATIENCE,
        drain_interval: float = DRAIN_INTERVAL,
    ) -> None:
        self._writer = InboxWriter(inbox, spool, clock=clock, log=log)
        self._spool = spool
        self._on_stored = on_stored
        self._log = log
        self._store_patience = store_patience
        self._spool_patience = spool_patience
        self._drain_interval = drain_interval
        self._waiting: _Group = []
        self._wake = asyncio.Event()
        self._put_at = -BUSY
        self._late: set[asyncio.Task[Any]] = set()
        self._spooling: asyncio.Task[None] | None = None
        self._spoolings = 0
        self._degraded_by: str | None = None
        self._trouble: str | None = None
        self._is_stopping = False
        self._stopped = asyncio.Event()
        self.spooled = 0
        """Callbacks that wait in the spool."""

    @property
    def degraded(self) -> bool:
        """Whether callbacks go to the spool because the store does not take them."""
        return self._degraded_by is not None

    @property
    def trouble(self) -> str | None:
        """Why callbacks go to the spool; None while the store takes them."""
        return self._degraded_by

    @property
    def is_busy(self) -> bool:
        """Whether callbacks are coming in just now."""
        return asyncio.get_running_loop().time() - self._put_at < BUSY

    def put(self, receipt: Receipt) -> asyncio.Future[None]:
        """Return a future that is done when ``receipt`` is durable, or NotDurableError."""
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()
        self._put_at = loop.time()
        self._waiting.append((receipt, durable, self._put_at))
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
            lost = await self._keep([receipt for receipt, _, _ in group], since=group[0][2])
            for receipt, durable, _ in group:
                if durable.done():
                    continue
                if receipt.receipt_id in lost:
                    durable.set_exception(NotDurableError())
                else:
                    durable.set_result(None)

    def stop(self) -> None:
        """Let ``run`` and ``drain`` end once nothing waits."""
        self._is_stopping = True
        self._stopped.set()
        self._wake.set()

    async def drain(self) -> None:
        """Bring what is in the spool into the store, whenever there is something and it can."""
        while not self._is_stopping:
            if not self._late:
                await self.drain_once()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), self._drain_interval)

    async def drain_once(self) -> bool:
        """Empty the spool once; False if that was not possible."""
        try:
            if self.degraded or not await asyncio.to_thread(self._spool.is_empty):
                await self._in_time(self._writer.prove(), self._store_patience)
                await self._drain_all()
                self._set_degraded(None)
            await self._recount()
        except StoreUnavailableError:
            return False
        except OSError as error:
            if self._trouble != _word(error):
                self._trouble = _word(error)
                self._log.error("spool_failed", error=_word(error))
            return False
        self._trouble = None
        return True

    async def _drain_all(self) -> None:
        """Drain until nothing has been spooled meanwhile: so nothing new overtakes the old."""
        drained, spoolings = 0, -1
        try:
            while spoolings != self._spoolings or self._is_spooling():
                spoolings = self._spoolings
                drained += await self._drain_files()
        finally:
            if drained:
                self._log.info("spool_drained", count=drained)

    async def _drain_files(self) -> int:
        drained = 0
        files = await asyncio.to_thread(self._spool.take)
        try:
            receipts = self._spool.read(files)
            while group := await asyncio.to_thread(lambda: list(islice(receipts, MOST_AT_ONCE))):
                written = await self._in_time(self._writer.put(group), self._store_patience)
                self._tell(written.stored)
                if written.lost:
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

    async def _recount(self) -> None:
        """Correct ``spooled`` by what other processes did; not while we are writing ourselves."""
        before, is_spooling = self._spoolings, self._is_spooling()
        count = await asyncio.to_thread(self._spool.count)
        if before == self._spoolings and not is_spooling:
            self.spooled = count

    async def _keep(self, receipts: list[Receipt], since: float) -> set[str]:
        """Make ``receipts`` durable, wherever; return the ids of those that could not be."""
        now = asyncio.get_running_loop().time
        if not self.degraded and not self._late:
            try:
                patience = since + self._store_patience - now()
                written = await self._in_time(self._writer.put(receipts), patience)
            except StoreUnavailableError as error:
                self._set_degraded(str(error))
            else:
                self._tell(written.stored)
                return {receipt.receipt_id for receipt in written.lost}
        try:
            left = since + self._store_patience + self._spool_patience - now()
            await self._to_spool(receipts, left)
        except (NotDurableError, OSError) as error:
            self._log.error("callback_not_durable", count=len(receipts), error=_word(error))
            return {receipt.receipt_id for receipt in receipts}
        return set()

    async def _in_time(self, work: Coroutine[Any, Any, _T], patience: float) -> _T:
        """Return what ``work`` does; StoreUnavailableError when it takes too long.

        It is not cancelled, for that could cut a commit. If it succeeds late it changes nothing:
        the callbacks are in the spool as well, and stored only once.
        """
        task = asyncio.create_task(work)
        done, _ = await asyncio.wait({task}, timeout=max(patience, 0.0))
        if not done:
            self._late.add(task)
            task.add_done_callback(self._late_work_ended)
            self._set_degraded("slow")
            raise StoreUnavailableError("slow")
        return task.result()

    def _late_work_ended(self, task: asyncio.Task[Any]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # whatever it was, it has been dealt with

    async def _to_spool(self, receipts: list[Receipt], patience: float) -> None:
        if self._is_spooling():
            raise NotDurableError
        self._spoolings += 1
        self._spooling = asyncio.create_task(asyncio.to_thread(self._spool.put_many, receipts))
        done, _ = await asyncio.wait({self._spooling}, timeout=max(patience, 0.0))
        if not done:
            self._spooling.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise NotDurableError
        self._spooling.result()
        self.spooled += len(receipts)
        for receipt in receipts:
            self._log.info(
                "callback_spooled",
                process_id=receipt.process_id,
                dossier_id=receipt.dossier_id,
                status=receipt.status,
                receipt_id=receipt.receipt_id,
            )

    def _tell(self, stored: Sequence[Receipt]) -> None:
        if stored:
            self._on_stored(stored)

    def _is_spooling(self) -> bool:
        return self._spooling is not None and not self._spooling.done()

    def _set_degraded(self, reason: str | None) -> None:
        if self.degraded == (reason is not None):
            return
        self._degraded_by = reason
        if reason is not None:
            self._log.error("store_unavailable", reason=reason)
        else:
            self._log.info("store_recovered")


def _word(error: BaseException) -> str:
    return type(error).__name__
