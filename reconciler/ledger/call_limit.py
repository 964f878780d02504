"""The floor under all waits: however things come together, a process is not called too often.

The waits of lifecycle.md keep below it. It holds where an observation has moved them: a clock, a
storm of contradicting callbacks, results that are lost. A person's requests are outside.

It counts by the wall clock. A jump back frees no call, a jump forward counts as time that has
passed.
"""

from reconciler.ledger.policy import HOUR, MINUTE, Policy
from reconciler.ledger.process import TrackedProcess
from reconciler.ledger.replace import replace

FIRST_HOUR = 30
LATER_HOUR = 10
"""Calls about one process in the hour after its registration, and in any later one."""

USUAL_INITIAL = 5 * MINUTE
"""``backoff.initial`` by default: with a shorter one the first hour is as much shorter."""


def not_before(process: TrackedProcess, policy: Policy, due: int) -> int:
    """Return ``due``, or the first later moment at which another call is allowed."""
    calls = process.recent_calls
    if len(calls) < LATER_HOUR:
        return due
    backoff = policy.backoff
    begun = process.registered_at + HOUR
    if due < begun:
        span = min(HOUR, HOUR * backoff.initial // USUAL_INITIAL)
        due = _free_at(calls, FIRST_HOUR, span, due)
    if due >= begun:
        due = _free_at(calls, LATER_HOUR, min(HOUR, backoff.max), due)
    return due


def with_call(process: TrackedProcess, now: int) -> TrackedProcess:
    """Return ``process`` with a call begun at ``now``."""
    kept = tuple(at for at in process.recent_calls if at > now - HOUR)
    return replace(process, recent_calls=(*kept[1 - FIRST_HOUR :], now))


def without_call(process: TrackedProcess) -> TrackedProcess:
    """Return ``process`` without its newest call, which was not made."""
    return replace(process, recent_calls=process.recent_calls[:-1])


def _free_at(calls: tuple[int, ...], most: int, span: int, due: int) -> int:
    return due if len(calls) < most else max(due, calls[-most] + span)
