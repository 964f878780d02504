"""Computes how much of a shared rate one daemon may use. Pure: time is passed in.

Each daemon keeps a row in the store, which counts for 15 s and is renewed every 5 s. A renewal
shows all rows that count, and so the share: the rate divided by their number. The share may be used
for 10 s from the beginning of the renewal. A new daemon makes no calls for 15 s: by then any share
that was computed without its row has run out. A daemon that is alone, as its join shows under a
lock, need not wait. A share that grows does so a second later, because a daemon that has just left
may have called until then. So at no time do two daemons call that do not know of each other.

The number of calls that may leave in one second, rate and burst together, is divided in whole
calls; the remainder goes to the daemons that are there longest. Where there are more daemons than
calls, the last ones get none. Nothing is lost by it: any daemon can make the calls that are due.

The reasons: docs/decisions/015.
"""

import math
from dataclasses import dataclass

USABLE = 10.0
"""Seconds from the beginning of a renewal for which its share may be used."""

MEMBER = 13.0
"""Seconds from the beginning of a renewal within which the next must end. Until then the row counts
for every daemon; the 2 s up to 15 are for clocks that differ."""

SILENCE = 15.0
"""Seconds for which a daemon that joins others makes no calls."""

WINDOW = 1.05
"""Seconds in which the calls of one promised second leave. A call may lose time on its way, so that
with less the far side could see more calls in one second than were promised."""


@dataclass(frozen=True, slots=True)
class Portion:
    """A number of calls that may be made."""

    rate: float
    """Calls a second in the long run."""
    most: int
    """Calls that may leave within one second."""

    @property
    def burst(self) -> float:
        """Calls that may leave at once, after a rest."""
        return max(1.0, self.rate / 10)

    def within(self, other: "Portion") -> "Portion":
        """Return the part of this that lies in ``other``."""
        return Portion(min(self.rate, other.rate), min(self.most, other.most))


NOTHING = Portion(0.0, 0)


def whole(rate: float) -> Portion:
    """Return all of ``rate``: with a burst of a tenth of it, at least 1."""
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError("the rate must be greater than 0")
    return Portion(rate, int(rate + max(1.0, rate / 10)))


def portion(rate: float, live: int, place: int) -> Portion:
    """Return the part of the daemon at ``place`` (from 0, the oldest first) among ``live``.

    Daemons that see each other never have more than the whole together, even where one of them
    counts others besides: a larger ``live`` or ``place``, or a smaller ``rate``, only lessens it.
    """
    calls = whole(rate).most
    if place >= calls:
        return NOTHING
    return Portion(rate / min(live, calls), math.ceil((calls - place) / live))


class Share:
    """The share of one daemon, from renewal to renewal. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._portion = self._before = NOTHING
        self._changes_at = self._renewed_at = -math.inf
        self._is_member = False

    def joined(self, begun: float, ended: float, portion: Portion, *, alone: bool) -> None:
        """Record a join, of a new row or one that had run out; ``alone``: no other row counted."""
        self._is_member = True
        self._renewed_at = begun
        self._before, self._portion = NOTHING, portion
        self._changes_at = ended + (WINDOW if alone else SILENCE)

    def renewed(self, begun: float, ended: float, portion: Portion) -> None:
        """Record a renewal. One that took too long does not count: the daemon has to join."""
        if self.must_join(ended):
            self._is_member = False
            return
        if portion != self._portion:
            used = self.at(ended)
            self._before, self._portion = portion.within(used), portion
            is_less = self._before == portion
            self._changes_at = max(self._changes_at, ended + (0.0 if is_less else WINDOW))
        self._renewed_at = begun

    def at(self, now: float) -> Portion:
        """Return the share that may be used at ``now``."""
        if self.has_run_out(now):
            return NOTHING
        return self._before if now < self._changes_at else self._portion

    def has_run_out(self, now: float) -> bool:
        """Tell whether nothing may be used because no renewal came through in time."""
        return not self._is_member or now >= self._renewed_at + USABLE

    def must_join(self, now: float) -> bool:
        """Tell whether the next renewal must be a join: the row is new, or may not have counted."""
        return not self._is_member or now - self._renewed_at > MEMBER

    def opens_in(self, now: float) -> float:
        """Return the seconds until the share of the last renewal may be used in full; 0: it may."""
        return max(0.0, self._changes_at - now)
