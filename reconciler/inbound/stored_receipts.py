"""The queue between intake and applier: callbacks that are stored and not applied yet."""

from collections.abc import Sequence
from math import inf

from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.store.inbox import Receipt

MOST_QUEUED = 20_000
"""Callbacks in the queue at most, roughly. The applier finds the others in the inbox later."""

BUSY = 0.01
"""Seconds after the arrival of a callback for which more are expected."""


class StoredReceipts:
    """Hands stored callbacks to the applier, and tells it whether more are arriving."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue: list[Receipt] = []
        self._arrived_at = -inf
        self.bell = Bell("stored")
        """Rung when there is something to take; the applier waits for it."""

    @property
    def is_busy(self) -> bool:
        """Whether callbacks are arriving just now."""
        return self._clock.monotonic() - self._arrived_at < BUSY

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take."""
        return not self._queue

    def expect(self, arrived_at: float) -> None:
        """Note that a callback has arrived, in monotonic seconds, and is about to be stored."""
        self._arrived_at = arrived_at

    def put(self, receipts: Sequence[Receipt]) -> None:
        """Queue callbacks that the store has taken, unless the queue is full."""
        if len(self._queue) < MOST_QUEUED:
            self._queue.extend(receipts)
        self.bell.ring()

    def take(self, most: int) -> list[Receipt]:
        """Return the oldest in the queue, ``most`` of them or fewer."""
        taken, self._queue = self._queue[:most], self._queue[most:]
        return taken
