"""An inbox whose commits are told: how many callbacks, in how many seconds."""

import time
from collections.abc import Callable, Sequence

from reconciler.inbound.writer import PutMany
from reconciler.store.inbox import Receipt


class MeasuredInbox:
    """Stands before an inbox; what fails is not told."""

    def __init__(
        self,
        inbox: PutMany,
        on_committed: Callable[[int, float], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inbox = inbox
        self._on_committed = on_committed
        self._monotonic = monotonic

    async def put_many(self, receipts: Sequence[Receipt]) -> None:
        """Make ``receipts`` durable. Raises StoreError."""
        begun = self._monotonic()
        await self._inbox.put_many(receipts)
        self._on_committed(len(receipts), self._monotonic() - begun)

    async def prove(self) -> None:
        """Show by a real commit that the store takes writes. Raises StoreError."""
        await self._inbox.prove()
