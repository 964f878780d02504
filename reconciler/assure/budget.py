"""The outbound budget: how many calls may leave in a second.

A token bucket. It fills at ``rate`` units a second and holds at most the burst: a tenth of the
rate, at least 1. In any window of one second at most ``rate + burst`` units leave.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable

LONGEST_PAUSE = 3600.0
"""Seconds."""

_WINDOW = 1.05
"""The second of the promise, and what a call may lose on its way from here to the far side: the
units of one second leave in 1.05, so that no second there sees more than it was promised."""
_SHORTEST_NAP = 0.001
"""Seconds; a shorter sleep might not move the clock at all."""
_LONGEST_NAP = 1.0
"""Seconds after which a waiter looks again: the rate may have changed, units may be back."""
_CARRY = 1.0
"""What may flow into a full bucket while a waiter oversleeps, so that slow rates are used up."""


class Budget:
    """Units of one second's traffic; one unit is one call."""

    def __init__(
        self,
        rate: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self._turn = asyncio.Lock()  # first come, first served
        self._taken: deque[tuple[float, int]] = deque()
        self._in_window = 0
        self._paused_until = -math.inf
        self._filled_at = monotonic()
        self._rate = self._burst = self._level = 0.0
        self.set_rate(rate)
        self._level = self._burst

    async def take(self, most: int = 1) -> int:
        """Wait for a unit, take as many as there are but at most ``most``, return how many.

        Waiters are served in the order they came. A cancelled waiter takes nothing.
        """
        if most < 1:
            raise ValueError("at least one unit must be asked for")
        async with self._turn:
            self._fill(self._burst)
            while (delay := self._delay()) > 0.0:
                short = self._level < 1.0
                await self._sleep(min(max(delay, _SHORTEST_NAP), _LONGEST_NAP))
                self._fill(self._burst + _CARRY if short else self._burst)
            units = min(most, int(self._level), int(self._burst), self._window_left())
            self._level -= units
            self._taken.append((self._filled_at, units))
            self._in_window += units
            return units

    def give_back(self, units: int) -> None:
        """Return units that were taken but not used.

        They still count in the window in which they were taken: given back late, they must not
        leave on top of what went out meanwhile.
        """
        self._fill(self._burst)
        self._level = min(self._level + max(units, 0), self._burst)

    def pause(self, seconds: float) -> None:
        """Let nothing leave for ``seconds`` (at most an hour); a longer pause is not shortened."""
        until = self._monotonic() + min(seconds, LONGEST_PAUSE)
        self._paused_until = max(self._paused_until, until)

    @property
    def paused_for(self) -> float:
        """Seconds until the pause ends; 0 without one."""
        return max(0.0, self._paused_until - self._monotonic())

    def set_rate(self, rate: float) -> None:
        """Change the rate (units a second) from now on; the bucket is not filled up by it."""
        if not (math.isfinite(rate) and rate > 0):
            raise ValueError("the rate must be greater than 0")
        self._fill(self._burst)
        self._rate = rate
        self._burst = max(1.0, rate / 10)
        self._level = min(self._level, self._burst)

    def _fill(self, capacity: float) -> None:
        now = self._monotonic()
        self._level = min(self._level + (now - self._filled_at) * self._rate, capacity)
        self._filled_at = now
        while self._taken and self._taken[0][0] + _WINDOW <= now:
            self._in_window -= self._taken.popleft()[1]

    def _delay(self) -> float:
        """Seconds until a unit may leave; 0 or less: now."""
        now = self._filled_at
        delay = max(self._paused_until - now, (1.0 - self._level) / self._rate)
        if self._window_left() < 1:
            delay = max(delay, self._taken[0][0] + _WINDOW - now)
        return delay

    def _window_left(self) -> int:
        return int(self._rate + self._burst) - self._in_window
