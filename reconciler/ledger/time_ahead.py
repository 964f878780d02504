"""Takes times of the future as now: the clock was ahead when they were kept, or another's is."""

from dataclasses import replace as replaced
from typing import Any, TypeVar

from reconciler.ledger.observation import Callback, Observation
from reconciler.ledger.process import Lease, TrackedProcess
from reconciler.ledger.replace import replace

_MARKS = ("callback_at", "missing_at", "notified_at", "verify_since", "unknown_since")
"""Times of what has happened to a process, on which waits and decisions depend."""

Seen = TypeVar("Seen", bound=Observation)


def as_seen(observation: Seen, now: int) -> Seen:
    """Return ``observation``; a callback of the future came now, by a clock that was ahead."""
    if isinstance(observation, Callback) and observation.received_at > now:
        return replaced(observation, received_at=now)
    return observation


def of_the_past(process: TrackedProcess, now: int) -> TrackedProcess:
    """Return ``process`` as if what lies in the future had happened now.

    Else every call would have begun before a callback of the future, a lease would not end, and a
    call would use up the limit for too long.
    """
    held = process.lease
    if held is not None and held.begun_at > now:
        process = replace(process, lease=_begun_now(held, process.callback_at, now))
    if process.recent_calls and process.recent_calls[-1] > now:
        calls = tuple(min(at, now) for at in process.recent_calls)
        process = replace(process, recent_calls=calls)
    for name in _MARKS:
        at = getattr(process, name)
        if at is not None and at > now:
            capped: dict[str, Any] = {name: now}
            process = replace(process, **capped)
    return process


def with_wait_from(process: TrackedProcess, now: int) -> TrackedProcess:
    """Return ``process`` with a wait that began in the future begun at ``now``."""
    shift = max(process.scheduled_at - now, 0)
    due = None if process.next_check_at is None else process.next_check_at - shift
    past: dict[str, Any] = {name: min(getattr(process, name), now) for name in _STARTS}
    if process.state.is_open:  # else its end, by which others find it
        past["state_since"] = min(process.state_since, now)
    return replace(process, next_check_at=due, **past)


_STARTS = ("scheduled_at", "registered_at", "timeout_from")


def _begun_now(held: Lease, callback_at: int | None, now: int) -> Lease:
    overtaken = callback_at is not None and held.begun_at < callback_at
    begun_at = now - 1 if overtaken else now  # a call before the callback stays before it
    return replace(held, begun_at=begun_at, until=now + held.until - held.begun_at)
