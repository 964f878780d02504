"""The one moment at which a connection has something to do if nothing happens before."""

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls a function at a moment that moves with every request.

    Moving it later, or clearing it, leaves the loop's timer where it is: several timers for every
    request would cost as much as reading its JSON.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._at: float | None = None
        self._then: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    @property
    def is_set(self) -> bool:
        """Whether a function will be called."""
        return self._at is not None

    def set(self, seconds: float, then: Callable[[], None]) -> None:
        """Call ``then`` in so many seconds, instead of what was to be called."""
        self._at = self._loop.time() + seconds
        self._then = then
        if self._timer is None or self._at < self._timer_at:
            self._arm(self._at)

    def clear(self) -> None:
        """Call nothing."""
        self._at = None

    def close(self) -> None:
        """Call nothing, and leave no timer behind."""
        self.clear()
        self._then = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._look)
        self._timer_at = at

    def _look(self) -> None:
        self._timer = None
        at, then = self._at, self._then
        if at is None or then is None:
            return
        if self._loop.time() < at:
            self._arm(at)
        else:
            self._at = None
            then()
