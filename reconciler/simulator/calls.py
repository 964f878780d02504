"""The record of calls, with time and answer, for tests and counters."""

from collections import Counter, deque
from dataclasses import dataclass
from typing import Literal

from reconciler.runtime.clock import Clock

Kind = Literal["token", "fetch", "notify", "callback", "other"]

KEPT = 200_000
"""Calls kept at most, so that a simulator can run for days; the counters go on."""


@dataclass(slots=True)
class Call:
    """One call, recorded when it arrives (a callback: when it is sent).

    `at` is monotonic seconds. `process_id` is None for a token request. `http_status` is None
    while the call is in flight and 0 when it ended without an answer. `other` is a request to a
    path or with a method that Assure does not have, such as a redirect that was followed.
    """

    at: float
    kind: Kind
    process_id: str | None
    http_status: int | None = None


class CallLog:
    """The calls in the order of arrival, and figures about all of them.

    `max_in_flight` holds, by process id, the most API calls (Get process, Notify) that were open
    at one moment; `most_at_once` the same over all processes; `most_per_second` the most API
    calls that arrived in any window of one second. Token requests and callbacks count in none.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._in_flight: Counter[str] = Counter()
        self._open = 0
        self._last_second: deque[float] = deque()
        self._counts: Counter[tuple[Kind, int]] = Counter()
        self.entries: list[Call] = []
        self.max_in_flight: dict[str, int] = {}
        self.most_at_once = 0
        self.most_per_second = 0

    def begin(self, kind: Kind, process_id: str | None) -> Call:
        """Record an arrival. Every call is ended with `end`."""
        call = Call(self._clock.monotonic(), kind, process_id)
        if len(self.entries) >= KEPT:
            del self.entries[: KEPT // 2]
        self.entries.append(call)
        if _is_api(call):
            self._arrived(call.at, process_id or "")
        return call

    def end(self, call: Call, http_status: int) -> None:
        """Record the answer; 0 for none."""
        call.http_status = http_status
        self._counts[call.kind, http_status] += 1
        if _is_api(call):
            self._open -= 1
            self._in_flight[call.process_id or ""] -= 1
            if not self._in_flight[call.process_id or ""]:
                del self._in_flight[call.process_id or ""]

    def summary(self) -> dict[str, object]:
        """Return the counters as JSON; calls in flight are counted when they end."""
        counts: dict[str, dict[str, int]] = {}
        for (kind, status), number in sorted(self._counts.items()):
            counts.setdefault(kind, {})[str(status) if status else "none"] = number
        return {
            "counts": counts,
            "mostPerSecond": self.most_per_second,
            "mostInFlightOfOneProcess": max(self.max_in_flight.values(), default=0),
            "mostAtOnce": self.most_at_once,
        }

    def count(self, kind: Kind) -> int:
        """Return how many calls of this kind have ended."""
        return sum(number for (of, _), number in self._counts.items() if of == kind)

    def _arrived(self, at: float, process_id: str) -> None:
        self._open += 1
        self.most_at_once = max(self.most_at_once, self._open)
        self._in_flight[process_id] += 1
        most = max(self.max_in_flight.get(process_id, 0), self._in_flight[process_id])
        self.max_in_flight[process_id] = most
        self._last_second.append(at)
        while self._last_second[0] <= at - 1:
            self._last_second.popleft()
        self.most_per_second = max(self.most_per_second, len(self._last_second))


def _is_api(call: Call) -> bool:
    return call.kind in ("fetch", "notify")
