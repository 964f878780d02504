"""Limits log lines that strangers can cause; who logs them counts the rest."""

from reconciler.runtime.clock import Clock

_AT_ONCE = 20.0


class LogLimit:
    """Lets 20 lines of a kind through at once and one a second after that."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def may_log(self, kind: str) -> bool:
        """Tell whether a line of this ``kind`` may be written now. Kinds must be few."""
        now = self._clock.monotonic()
        left, at = self._left.get(kind, (_AT_ONCE, now))
        left = min(_AT_ONCE, left + now - at)
        allowed = left >= 1
        self._left[kind] = (left - 1 if allowed else left, now)
        return allowed
