"""One look at something slow, shared by all who ask for it at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from reconciler.runtime.bounded_wait import wait_at_most
from reconciler.runtime.clock import Clock

CACHE = 1.0
"""Seconds for which a result is good enough."""

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Makes one look at a time; all who ask while it is made or fresh share it.

    A look is never cancelled, so something that hangs is asked once, not once a question.
    """

    def __init__(self, look: Callable[[], Awaitable[T]], clock: Clock) -> None:
        self._look = look
        self._clock = clock
        self._task: asyncio.Task[T] | None = None
        self._begun = 0.0

    async def get(self, seconds: float) -> T:
        """Return the result of a look that began at most ``CACHE`` seconds ago.

        Raises TimeoutError after ``seconds``, and what the look raises.
        """
        if self._task is None or (self._task.done() and self._is_old()):
            self._begun = self._clock.monotonic()
            self._task = asyncio.create_task(self._make())
        return await wait_at_most(self._task, seconds)

    def _is_old(self) -> bool:
        return self._clock.monotonic() - self._begun >= CACHE

    async def _make(self) -> T:
        return await self._look()
