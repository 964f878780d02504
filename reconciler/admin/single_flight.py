"""Looking at what may be slow or out of order, for those who may not wait for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

CACHE = 1.0
"""Seconds for which a look is good enough."""

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """One look at a time, shared by all who ask while it is made or fresh.

    Whoever asks waits for a bounded time. The look itself is not cut short, so that a store that
    hangs is asked once and not once more with every question.
    """

    def __init__(self, look: Callable[[], Awaitable[T]], *, monotonic: Callable[[], float]) -> None:
        self._look = look
        self._monotonic = monotonic
        self._task: asyncio.Task[T] | None = None
        self._begun = 0.0

    async def within(self, seconds: float) -> T | None:
        """Return what a look of the last second says; None if it takes longer than ``seconds``.

        Raises what the look raises.
        """
        if self._task is None or (self._task.done() and self._is_old()):
            self._begun = self._monotonic()
            self._task = asyncio.create_task(self._make())
            # A failure that comes when nobody waits any more has been dealt with: by not waiting.
            self._task.add_done_callback(lambda late: late.cancelled() or late.exception())
        task = self._task
        await asyncio.wait({task}, timeout=seconds)
        return task.result() if task.done() else None

    def _is_old(self) -> bool:
        return self._monotonic() - self._begun >= CACHE

    async def _make(self) -> T:
        return await self._look()
