"""The second step of a callback: what the inbox holds is applied to the ledger, in batches."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from reconciler.config import InForce
from reconciler.inbound.stored_receipts import StoredReceipts
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current import Current
from reconciler.store.announce import announce
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.inbox import Inbox, Receipt

MOST_AT_ONCE = 200
"""Callbacks applied in one transaction: some 20 ms of the writer."""

POLITENESS = 0.2
"""Seconds that a batch waits at the most while callbacks are still coming in: the 200 is what
Assure waits for, and applying takes several times the work."""

LEFT_BEHIND = 10_000
"""Milliseconds after which a callback that was not applied is looked for in the inbox."""


class _Place(NamedTuple):
    """How far a recovery has come."""

    before: int
    """Arrivals until then, in UTC milliseconds, are looked at."""
    last: Receipt | None


class Applier:
    """Applies stored callbacks; one that failed, or whose daemon died, is found again."""

    def __init__(
        self,
        inbox: Inbox,
        stored: StoredReceipts,
        current: Current[InForce],
        *,
        due: Bell,
        news: Bell,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        """``due`` and ``news`` are rung when callbacks have been applied.

        A process may be due for its confirmation; the application may have a result to get.
        """
        self._inbox = inbox
        self._stored = stored
        self._current = current
        self._due = due
        self._news = news
        self._clock = clock
        self._log = log
        self._is_stopping = False
        self._place: _Place | None = None

    async def run(self) -> None:
        """Apply until ``stop`` is called and the queue is empty."""
        while not (self._is_stopping and self._stored.is_empty):
            if self._stored.is_empty:
                await self._stored.bell.wait()
                continue
            await self._be_polite()
            batch = self._stored.take(MOST_AT_ONCE)
            with suppress(StoreUnavailableError):  # they are in the inbox: ``recover`` finds them
                await self._apply(batch)
            self._ring()

    def stop(self) -> None:
        """Let ``run`` end once the queue is empty."""
        self._is_stopping = True
        self._stored.bell.ring()

    async def recover(self, *, everything: bool = False) -> bool:
        """Apply a batch of what the inbox holds and nobody has applied; True if there is more.

        ``everything``: at start, when nothing else can be on its way to the ledger.
        """
        before = self._clock.now() - (0 if everything else LEFT_BEHIND)
        place, self._place = self._place or _Place(before, None), None
        try:
            found = await self._inbox.unapplied(place.before, MOST_AT_ONCE, after=place.last)
            if found and await self._apply(found):
                self._ring()
        except StoreUnavailableError:  # what is left is found again with the next tick
            return False
        if len(found) < MOST_AT_ONCE:
            return False
        # Behind the last: callbacks that cannot be applied do not stand before the others.
        self._place = _Place(place.before, found[-1])
        return True

    def _ring(self) -> None:
        self._due.ring()
        self._news.ring()

    async def _be_polite(self) -> None:
        """Wait while callbacks are coming in, so that storing them comes before applying."""
        until = self._clock.monotonic() + POLITENESS
        while self._stored.is_busy and not self._is_stopping and self._clock.monotonic() < until:
            await self._clock.sleep(POLITENESS / 20)

    async def _apply(self, batch: Sequence[Receipt]) -> int:
        """Apply ``batch``, one by one if that fails; return how many are applied now."""
        try:
            rules, now = self._current.value.rules, self._clock.now()
            changes = await self._inbox.apply(batch, rules, now)
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
