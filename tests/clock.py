"""A clock that tests move by hand."""

import asyncio

from reconciler.runtime.clock import Clock

NOW = 1_800_000_000_000
"""Where the wall clock of most tests begins, in UTC milliseconds."""


class PlayedClock(Clock):
    """Wall and monotonic time that stand still until a test moves them.

    A sleeper wakes when the monotonic time has passed its end; where the clock ``flies``, each
    sleep takes the time to its own end.
    """

    def __init__(self, wall: int = NOW, monotonic: float = 1000.0) -> None:
        self.wall = wall
        """UTC milliseconds; move it alone to let the wall clock jump."""
        self.at = monotonic
        self.flies = False
        self._moved = asyncio.Event()

    def now(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self.at

    def move(self, seconds: float) -> None:
        """Let time pass, on both clocks."""
        self.wall += round(seconds * 1000)
        self.at += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        until = self.at + seconds
        if self.flies:
            self.move(seconds)
            await asyncio.sleep(0)
        while self.at < until:
            await self._moved.wait()
