"""Limits how many calls leave in a second (the outbound budget).

It is a token bucket, which fills at ``rate`` units a second and holds at most the burst: a tenth of
the rate, at least 1. In any window of one second at most ``rate + burst`` calls leave. A unit that
was taken may become a call at any moment, so it counts as one. Where several daemons share a rate,
a ``Share`` says how much of it this one may use at the moment.

The reasons: docs/decisions/014.
"""

import asyncio
import math
from collections import deque

from reconciler.outbound.share import WINDOW, Portion, Share, whole
from reconciler.runtime.clock import Clock

LONGEST_PAUSE = 3600.0
"""Seconds."""

_SHORTEST_SLEEP = 0.001
"""Seconds; a shorter sleep might not move the clock at all."""
_SHORT_SLEEP = 0.05
"""Seconds after which a waiter looks again whether units that were taken have been used, or this
daemon has got a share."""
_LONGEST_SLEEP = 1.0
"""Seconds after which a waiter looks again: the rate may have changed, units may be back."""
_CARRY = 1.0
"""Units that may flow into a full bucket while a waiter oversleeps, so that slow rates are used."""


class Budget:
    """Hands out units; one unit is one call.

    Each unit that is taken is held until it leaves as a call, is given back, or is forgone.
    """

    def __init__(self, rate: float, *, clock: Clock, share: Share | None = None) -> None:
        """``share``: the part of ``rate`` that this daemon may use; None: all of it."""
        self._clock = clock
        self._turn = asyncio.Lock()  # first come, first served
        self._whole = whole(rate)
        self._share = share
        self._left: deque[float] = deque()
        self._held = 0
        self._paused_until = -math.inf
        self._filled_at = clock.monotonic()
        self._portion = self._portion_at(self._filled_at)
        self._level = self._portion.burst

    async def take(self, most: int = 1) -> int:
        """Wait for a unit, take as many as there are but at most ``most``, return how many.

        Waiters are served in the order they came. A cancelled waiter takes nothing.
        """
        if most < 1:
            raise ValueError("at least one unit must be asked for")
        async with self._turn:
            self._fill()
            while (delay := self._delay()) > 0.0:
                short = self._level < 1.0
                await self._clock.sleep(min(max(delay, _SHORTEST_SLEEP), _LONGEST_SLEEP))
                self._fill(_CARRY if short else 0.0)
            units = min(most, int(self._level), int(self._portion.burst), self._window_left())
            self._level -= units
            self._held += units
            return units

    def leave(self) -> bool:
        """Turn a unit that is held into a call that leaves now; False: it may not, and is forgone.

        Ask just before the call: the share may have run out since the unit was taken.
        """
        self._fill()
        self.forgo()
        if len(self._left) >= self._portion.most:
            return False
        self._left.append(self._filled_at)
        return True

    def give_back(self, units: int = 1) -> None:
        """Return units that are held and that no call will be made for."""
        self._fill()
        self.forgo(units)
        self._level = min(self._level + units, self._portion.burst)

    def forgo(self, units: int = 1) -> None:
        """Let units that are held lapse: they were paid for and are not used."""
        self._held = max(self._held - units, 0)

    def pause(self, seconds: float) -> None:
        """Let nothing leave for ``seconds`` (at most an hour); a longer pause is not shortened."""
        until = self._clock.monotonic() + min(seconds, LONGEST_PAUSE)
        self._paused_until = max(self._paused_until, until)

    @property
    def paused_for(self) -> float:
        """Seconds until the pause ends; 0 without one."""
        return max(0.0, self._paused_until - self._clock.monotonic())

    @property
    def rate(self) -> float:
        """Calls a second that this daemon may make now; 0 where it has no share, or not yet."""
        return self._portion_at(self._clock.monotonic()).rate

    def set_rate(self, rate: float) -> None:
        """Change the rate (units a second) from now on; the bucket is not filled up by it."""
        self._fill()
        self._whole = whole(rate)
        self._fill()

    def _portion_at(self, now: float) -> Portion:
        if self._share is None:
            return self._whole
        return self._share.at(now).within(self._whole)

    def _fill(self, carry: float = 0.0) -> None:
        now = self._clock.monotonic()
        before, self._portion = self._portion, self._portion_at(now)
        inflow = (now - self._filled_at) * min(before.rate, self._portion.rate)
        self._level = min(self._level + inflow, self._portion.burst + carry)
        self._filled_at = now
        while self._left and self._left[0] + WINDOW <= now:
            self._left.popleft()

    def _delay(self) -> float:
        """Seconds until a unit may be taken; 0 or less: now."""
        now = self._filled_at
        if not self._portion.most:
            return _SHORT_SLEEP
        delay = max(self._paused_until - now, (1.0 - self._level) / self._portion.rate)
        if self._window_left() < 1:
            delay = max(delay, self._left[0] + WINDOW - now if self._left else _SHORT_SLEEP)
        return delay

    def _window_left(self) -> int:
        return self._portion.most - len(self._left) - self._held
