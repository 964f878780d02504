"""A clock that tests move by hand."""

import asyncio

from reconciler.runtime.clock import Clock

NOW = 1_800_000_000_000
"""Where the wall clock of most tests begins, in UTC milliseconds."""


class PlayedClock(Clock):
    """Wall and monotonic time that stand still until a test moves them.

    A sleeper wakes when the monotonic time has passed its end; where the clock ``flies``, each
    sleep takes the time to its own end, and ``lateness`` seconds further. Where it ``runs``, only
    the wall time stands still; the monotonic time is this machine's, and ``at`` ahead of it.
    """

    def __init__(
        self,
        wall: int = NOW,
        monotonic: float = 1000.0,
        *,
        flies: bool = False,
        lateness: float = 0.0,
        runs: bool = False,
    ) -> None:
        self.wall = wall
        """UTC milliseconds; move it alone to let the wall clock jump."""
        self.at = monotonic
        self.flies = flies
        self.lateness = lateness
        self.runs = runs
        self.sleeps: list[float] = []
        """The seconds of each sleep that has begun."""
        self._moved = asyncio.Event()

    def now(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self.at + (super().monotonic() if self.runs else 0.0)

    def move(self, seconds: float) -> None:
        """Let time pass, on both clocks."""
        self.wall += round(seconds * 1000)
        self.at += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        if self.runs:
            await super().sleep(seconds)
            return
        until = self.at + seconds
        if self.flies:
            self.move(seconds + self.lateness)
            await asyncio.sleep(0)
        while self.at < until:
            await self._moved.wait()
