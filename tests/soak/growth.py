"""Judges whether memory, latency or backlog grow, by the slope of Theil and Sen.

It is the median of the slopes of all pairs, so outliers do not move it. The second half of a run
is judged; the bounds below are what a series may rise from the begin of that half to its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

FEWEST = 6
"""Points without which nothing can be said."""

Point = tuple[float, float]
"""Seconds since the begin, and a value."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the daemon. Its age says how long it runs; None: it did not run."""

    at: float
    age: float | None
    memory: float | None
    """Resident, in MB of 10^6 bytes."""
    p50: float | None
    """Milliseconds until the durable 200, of the callbacks since the last look."""
    p99: float | None
    unapplied: int
    overdue: int
    pending: int
    """Deliveries that the application has not taken."""

    @property
    def backlog(self) -> int:
        """All that waits."""
        return self.unapplied + self.overdue + self.pending


@dataclass(frozen=True, slots=True)
class Bound:
    """Most that a series may rise: the larger of an amount and a share of what it begins with."""

    amount: float
    share: float

    def allows(self, points: Sequence[Point]) -> float:
        """Return the most that ``points`` may rise."""
        begin = points[: len(points) // 4 + 1]
        return max(self.amount, self.share * median(value for _, value in begin))


MEMORY = Bound(10.0, 0.1)
P50 = Bound(5.0, 0.25)
P99 = Bound(50.0, 0.25)
BACKLOG_SECONDS = 1.0
"""The least backlog of each cycle of faults may rise by the callbacks of so many seconds."""


def rise(points: Sequence[Point]) -> float:
    """Return how much ``points`` rise over their whole time: the median of all slopes, times it."""
    slopes = [(b - a) / (t - s) for (s, a), (t, b) in combinations(points, 2)]
    return median(slopes) * (points[-1][0] - points[0][0])


def least_of_each(points: Sequence[Point], cycle: float) -> list[Point]:
    """Return the least value of each ``cycle`` of so many seconds, at the cycle's begin."""
    least: dict[float, float] = {}
    for at, value in points:
        begun = at // cycle * cycle
        least[begun] = min(value, least.get(begun, value))
    return list(least.items())


def judge(samples: Sequence[Sample], *, seconds: float, cycle: float, rate: float) -> list[str]:
    """Return a line for each series that grows in the second half of the ``seconds``.

    ``cycle``: seconds in which the faults repeat; a backlog must shrink in each of them.
    """
    late = [sample for sample in samples if sample.at >= seconds / 2]
    backlog = least_of_each([(each.at, each.backlog) for each in late], cycle)
    whole = [(at, value) for at, value in backlog if seconds / 2 <= at <= seconds - cycle]
    series = (
        ("resident memory, MB", MEMORY, [(s.at, s.memory) for s in late]),
        ("p50 of the durable 200, ms", P50, [(s.at, s.p50) for s in late]),
        ("p99 of the durable 200, ms", P99, [(s.at, s.p99) for s in late]),
        ("least backlog of a cycle", Bound(BACKLOG_SECONDS * rate, 0.0), whole),
    )
    problems = []
    for name, bound, values in series:
        points = [(at, value) for at, value in values if value is not None]
        if len(points) < FEWEST:
            problems.append(f"{name}: {len(points)} points are too few to judge")
            continue
        risen, allowed = rise(points), bound.allows(points)
        if risen > allowed:
            problems.append(f"{name}: has risen by {risen:.1f}; at most {allowed:.1f} is allowed")
    return problems
