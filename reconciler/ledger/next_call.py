"""Decides what is next for a process. Reads only; ``transition`` changes."""

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.ledger.call_limit import not_before, with_call
from reconciler.ledger.policy import Policy, Rules, Verb
from reconciler.ledger.process import Lease, State, TrackedProcess
from reconciler.ledger.replace import replace


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing now."""


@dataclass(frozen=True, slots=True)
class TurnOverdue:
    """Its time-out is over: apply ``TimePassed``. Needs no call."""


@dataclass(frozen=True, slots=True)
class Call:
    """Make this call, under a lease."""

    verb: Verb


Decision = Idle | TurnOverdue | Call


def decide(process: TrackedProcess, rules: Rules, now: int) -> Decision:
    """Return what is next for ``process`` at ``now``."""
    if process.next_check_at is None or (process.lease and process.lease.until > now):
        return Idle()
    due = process.next_check_at <= now
    if turns_overdue(process, rules, now):
        return TurnOverdue()
    policy = rules.policy(process.provider)
    if not process.asked and not_before(process, policy, now) > now:
        return Idle()
    if process.state is State.WAITING and not process.asked:
        return Call(Verb.FETCH) if process.catch_up else Idle()
    return Call(next_verb(process, policy)) if due else Idle()


def held_back(process: TrackedProcess, rules: Rules, now: int) -> TrackedProcess:
    """Return ``process``, due when the limit of calls allows one; what a person asked for is due.

    An early look after downtime is dropped: it waits for its callback as before.
    """
    if process.next_check_at is None or process.asked:
        return process
    policy = rules.policy(process.provider)
    earliest = max(process.next_check_at, now)
    due = not_before(process, policy, earliest)
    if process.catch_up and not_before(process, policy, now) > now:
        process = replace(process, catch_up=False)
    return process if due == earliest else replace(process, next_check_at=due)


def turns_overdue(process: TrackedProcess, rules: Rules, now: int) -> bool:
    """Tell whether the time-out of a waiting process is over.

    After a recheck it is due at once, but late only after its whole time-out.
    """
    if process.state is not State.WAITING or process.next_check_at is None:
        return False
    if process.next_check_at > now:
        return False
    return process.asked is None or timeout_at(process, rules.policy(process.provider)) <= now


def lease(process: TrackedProcess, verb: Verb, owner: str, now: int, length: int) -> TrackedProcess:
    """Return ``process`` with a new lease of ``length`` ms, under the next attempt number."""
    taken = Lease(owner=owner, verb=verb, begun_at=now, until=now + length)
    leased = replace(process, attempt=process.attempt + 1, lease=taken)
    return leased if process.asked is verb else with_call(leased, now)


def ladder(process: TrackedProcess, policy: Policy) -> Sequence[Verb]:
    """Return the rungs of the present round.

    Notify is on it only while a callback is missing: not after a claim, a final status or a 404,
    nor once Get process has said that the end user is not done.
    """
    callback_missing = process.state in (State.WAITING, State.OVERDUE)
    if callback_missing and not process.pending_seen and process.missing_at is None:
        return policy.ladder
    return (Verb.FETCH,)


def next_verb(process: TrackedProcess, policy: Policy) -> Verb:
    """Return the call of the present rung, or the one that a person asked for."""
    rungs = ladder(process, policy)
    return process.asked or rungs[min(process.rung, len(rungs) - 1)]


def timeout_at(process: TrackedProcess, policy: Policy) -> int:
    """Return when the callback is late."""
    return process.timeout_from + policy.callback_timeout
