"""Applies stored callbacks to the ledger, in batches."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from reconciler.config import InForce
from reconciler.inbound.stored_receipts import StoredReceipts
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.announce import announce
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.inbox import Inbox, Receipt

MOST_AT_ONCE = 200
"""Callbacks applied in one transaction: some 20 ms of the writer."""

LONGEST_WAIT = 0.2
"""Seconds that a batch waits at most while callbacks arrive: Assure waits for its 200, and applying
takes several times the work of storing."""

_STEP = 0.01
"""Seconds between two looks whether callbacks still arrive."""

LEFT_BEHIND = 10_000
"""Milliseconds after its arrival from which an unapplied callback is looked for in the inbox."""


class _Place(NamedTuple):
    """The place in the inbox that a recovery has reached."""

    before: int
    """Only callbacks that arrived until then, in UTC milliseconds, are looked at."""
    last: Receipt | None


class Applier:
    """Applies stored callbacks, and finds those that an error or a crash has left unapplied."""

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
        """``due`` and ``news`` are rung after callbacks were applied.

        A process may be due for its confirmation, and a result may wait for its delivery.
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
            await self._wait_while_busy()
            batch = self._stored.take(MOST_AT_ONCE)
            with suppress(StoreUnavailableError):  # they are in the inbox: ``recover`` finds them
                await self._apply(batch)
            self._ring()

    def stop(self) -> None:
        """Let ``run`` end once the queue is empty."""
        self._is_stopping = True
        self._stored.bell.ring()

    async def recover(self, *, everything: bool = False) -> bool:
        """Apply one batch of callbacks that were left unapplied; True where there are more.

        ``everything``: at the start, when none can be in the queue of a running daemon.
        """
        before = self._clock.now() - (0 if everything else LEFT_BEHIND)
        place, self._place = self._place or _Place(before, None), None
        try:
            found = await self._inbox.unapplied(place.before, MOST_AT_ONCE, after=place.last)
            if found and await self._apply(found):
                self._ring()
        except StoreUnavailableError:  # the next tick finds them again
            return False
        if len(found) < MOST_AT_ONCE:
            return False
        # Go on behind the last one: callbacks that cannot be applied do not stop the others.
        self._place = _Place(place.before, found[-1])
        return True

    def _ring(self) -> None:
        self._due.ring()
        self._news.ring()

    async def _wait_while_busy(self) -> None:
        """Wait while callbacks arrive, so that storing comes before applying."""
        until = self._clock.monotonic() + LONGEST_WAIT
        while self._stored.is_busy and not self._is_stopping and self._clock.monotonic() < until:
            await self._clock.sleep(_STEP)

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
