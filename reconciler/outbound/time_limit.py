"""Limits the time of many calls with one timer for all of them.

``asyncio.timeout`` sets a timer for each call, and cancels nearly all of them unused. Where all
calls have the same limit, the one that began first is over first: a timer for that one is enough.
"""

import asyncio
from types import TracebackType


class TimeLimit:
    """``with limit.call():`` ends the block with a TimeoutError after ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.under_way: dict[_Call, float] = {}
        """When the time of each call is over, on the loop's clock, in order."""
        self._timer: asyncio.TimerHandle | None = None

    def call(self) -> "_Call":
        """Return the limit of one call that the present task makes."""
        return _Call(self)

    def set_timer(self, until: float, loop: asyncio.AbstractEventLoop) -> None:
        """Set the timer, if there is none. It stays when its call ends: the next one needs it."""
        if self._timer is None:
            self._timer = loop.call_at(until, self._expire, loop)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._timer = None
        for call, until in list(self.under_way.items()):
            if until > now:
                self.set_timer(until, loop)
                return
            del self.under_way[call]
            call.expire()


class _Call:
    """Limits one call. It tells its own cancellation from others as ``asyncio.timeout`` does."""

    __slots__ = ("_cancelling", "_is_over", "_limit", "_task")

    def __init__(self, limit: TimeLimit) -> None:
        self._limit = limit
        self._is_over = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        limit, loop = self._limit, task.get_loop()
        until = limit.under_way[self] = loop.time() + limit.seconds
        limit.set_timer(until, loop)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._limit.under_way.pop(self, None)
        if not self._is_over:
            return
        is_ours = self._task.uncancel() <= self._cancelling
        if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def expire(self) -> None:
        """End the block."""
        self._is_over = True
        self._task.cancel()
