"""The operator's settings: how long to wait, which calls to make, when to give up.

Durations are integers of milliseconds; times in this package are integers of UTC milliseconds
since the epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from zlib import crc32

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

LAG_RETRY = 5 * SECOND
"""First wait after Get process says *pending* although a callback claims a final status."""

UNKNOWN_STANDS = HOUR
UNKNOWN_LOOKS = 3
"""An unknown status that a callback claims settles when Get process has answered it for so long, in
so many looks."""

LOOK_AGAIN = DAY
"""When a process that was settled so is verified."""

TRIES_PER_RUNG = 4
"""Calls on one rung: a failed one is repeated three times, then the next rung follows."""

FAST_RETRY_PART = 10
"""The first of those three waits is the backoff's initial delay divided by this."""


class Verb(StrEnum):
    """A call to Assure about a process."""

    NOTIFY = "notify"
    """Ask Assure to send the callback again."""
    FETCH = "fetch"
    """Read the status with Get process."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between rounds: ``initial * factor ** n``, at most ``max``, plus up to ``jitter``."""

    initial: int = 5 * MINUTE
    factor: float = 2.0
    max: int = HOUR
    jitter: float = 0.1
    """The largest share of the delay that is added (never subtracted), so that retries spread."""

    def delay(self, n: int, seed: str) -> int:
        """Return the wait in ms after the ``n``-th round (from 1).

        The jitter is a hash of ``seed`` and ``n`` instead of random, so that the same history
        always gives the same due time.
        """
        base: float = self.initial
        for _ in range(n - 1):
            if base >= self.max:
                break
            base *= self.factor
        draw = crc32(f"{seed}:{n}".encode()) / 2**32
        return round(min(base, self.max) * (1 + self.jitter * draw))

    def retry(self, n: int) -> int:
        """Return the wait in ms before the ``n``-th retry (from 1) of one failed call."""
        return min(max(self.initial // FAST_RETRY_PART, 1) << (n - 1), self.initial)


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings of ``[reconcile]`` that decide what happens to one process."""

    callback_timeout: int = 15 * MINUTE
    ladder: Sequence[Verb] = (Verb.NOTIFY, Verb.FETCH)
    notify_grace: int = 2 * MINUTE
    confirm_callbacks: bool = True
    backoff: Backoff = field(default_factory=Backoff)
    give_up_after: int = 14 * DAY


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that ``transition`` needs, for every provider."""

    default: Policy = field(default_factory=Policy)
    providers: Mapping[str, Policy] = field(default_factory=dict)
    """Overrides, by provider name in lower case."""
    final_statuses: frozenset[str] = frozenset(
        {"accepted", "rejected", "inconclusive", "canceled", "failed", "not_matched"}
    )
    pending_statuses: frozenset[str] = frozenset({"pending", "processing"})
    adopt_unknown: bool = True
    """Whether a callback for a process nobody registered puts it on the ledger."""
    deliver: bool = False
    """Whether the user's application is told of results."""
    _final: frozenset[str] = field(init=False, repr=False, compare=False)
    _pending: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_final", frozenset(map(str.lower, self.final_statuses)))
        object.__setattr__(self, "_pending", frozenset(map(str.lower, self.pending_statuses)))

    def policy(self, provider: str | None) -> Policy:
        """Return the policy for ``provider``; the default while the provider is not known."""
        return self.providers.get(provider.lower(), self.default) if provider else self.default

    def is_final(self, status: str) -> bool:
        """Tell whether ``status`` stands in the list of final ones."""
        return status.lower() in self._final

    def is_pending(self, status: str) -> bool:
        """Tell whether ``status`` stands in the list of pending ones."""
        return status.lower() in self._pending

    def is_unknown(self, status: str) -> bool:
        """Tell whether ``status`` stands in neither list."""
        return not self.is_final(status) and not self.is_pending(status)


def same_status(one: str | None, other: str | None) -> bool:
    """Tell whether two statuses are the same, whatever their letter case."""
    if one is None or other is None:
        return one is other
    return one == other or one.lower() == other.lower()
