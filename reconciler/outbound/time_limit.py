"""One time limit for many calls, with one timer for all of them.

``asyncio.timeout`` sets a timer for each call, and takes nearly all of them away unused. Where all
calls have the same limit, the one that began first is over first: a timer for that one is enough.
"""

import asyncio
from types import TracebackType


class TimeLimit:
    """``with limit.call():`` ends the block with a TimeoutError after ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._calls: dict[_Call, None] = {}
        """Those under way, in the order of their ends."""
        self._timer: asyncio.TimerHandle | None = None

    def call(self) -> "_Call":
        """Return the limit of one call that the present task makes."""
        return _Call(self)

    def begin(self, call: "_Call") -> None:
        """Run the time of ``call``."""
        loop = asyncio.get_running_loop()
        call.until = loop.time() + self.seconds
        self._calls[call] = None
        if self._timer is None:
            self._timer = loop.call_at(call.until, self._ring)

    def end(self, call: "_Call") -> None:
        """Stop the time of ``call``. The timer stays: most likely another call needs it."""
        self._calls.pop(call, None)

    def _ring(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = None
        for call in list(self._calls):
            if call.until > now:
                self._timer = loop.call_at(call.until, self._ring)
                return
            del self._calls[call]
            call.expire()


class _Call:
    """The time of one call: asyncio.timeout's way to tell its cancellation from another's."""

    __slots__ = ("_cancelling", "_is_over", "_limit", "_task", "until")

    def __init__(self, limit: TimeLimit) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._limit = limit
        self._task = task
        self._is_over = False
        self.until = 0.0

    def __enter__(self) -> None:
        self._cancelling = self._task.cancelling()
        self._limit.begin(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._limit.end(self)
        if not self._is_over:
            return
        is_ours = self._task.uncancel() <= self._cancelling
        if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def expire(self) -> None:
        """End the block."""
        self._is_over = True
        self._task.cancel()
