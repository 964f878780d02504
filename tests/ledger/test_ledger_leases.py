"""lifecycle.md, "Callback during a lease" and the results of leases that were lost."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.ledger import (
    Call,
    Callback,
    CallFailed,
    CallRefused,
    Fetched,
    Idle,
    NotifyAccepted,
    ProcessNotFound,
    Recheck,
    Rules,
    State,
    TrackedProcess,
    Verb,
    decide,
    lease,
)
from reconciler.ledger.policy import MINUTE, SECOND

Tell = Callable[..., tuple[TrackedProcess, list[str], str | None]]
MakeCallback = Callable[..., Callback]
Result = Fetched | ProcessNotFound | CallRefused | CallFailed

REFUTATIONS = [
    Fetched(1, "pending"),
    Fetched(1, "rejected"),
    ProcessNotFound(1, path_proven=True),
    ProcessNotFound(1, path_proven=False),
    CallRefused(1, "http_400"),
    CallFailed(1, "timeout"),
]


@pytest.fixture
def fetching(overdue: TrackedProcess) -> TrackedProcess:
    """A Get process is under way."""
    return lease(overdue, Verb.FETCH, "one", overdue.state_since, MINUTE)


@pytest.fixture
def overtaken(fetching: TrackedProcess, tell: Tell, callback: MakeCallback) -> TrackedProcess:
    """A Get process is under way; a callback has come meanwhile."""
    at = fetching.state_since + SECOND
    return tell(fetching, callback("accepted", at), at)[0]


@pytest.mark.parametrize("status", ["accepted", "rejected", "pending", "weird"])
def test_a_callback_changes_neither_lease_nor_attempt(
    tell: Tell, callback: MakeCallback, any_process: TrackedProcess, status: str
) -> None:
    at = any_process.state_since
    held = lease(any_process, Verb.FETCH, "one", at, MINUTE)
    after, _, _ = tell(held, callback(status, at + SECOND), at + SECOND)
    assert (after.lease, after.attempt) == (held.lease, held.attempt)


def test_a_callback_during_a_lease_is_checked_when_the_lease_ends(
    overtaken: TrackedProcess, rules: Rules
) -> None:
    at = overtaken.state_since
    assert (overtaken.state, overtaken.next_check_at) == (State.REPORTED, at)
    assert decide(overtaken, rules, at) == Idle()
    assert decide(overtaken, rules, at + MINUTE) == Call(Verb.FETCH)


def test_a_call_begun_before_the_callback_may_settle(tell: Tell, overtaken: TrackedProcess) -> None:
    after, _, delivery = tell(overtaken, Fetched(1, "accepted"), overtaken.state_since + SECOND)
    assert (after.state, after.status) == (State.SETTLED, "accepted")
    assert delivery == "process.settled"


@pytest.mark.parametrize("result", REFUTATIONS)
def test_a_call_begun_before_the_callback_never_refutes_it(
    tell: Tell, overtaken: TrackedProcess, rules: Rules, result: Result
) -> None:
    at = overtaken.state_since + SECOND
    after, _, delivery = tell(overtaken, result, at)
    assert (after.state, after.claimed_status) == (State.REPORTED, "accepted")
    assert after.lease is None
    assert decide(after, rules, at) == Call(Verb.FETCH)
    assert delivery is None
    assert after.fetch_attempts == 1


@pytest.mark.parametrize("result", REFUTATIONS)
def test_a_404_begun_before_the_callback_is_not_the_first_of_two(
    tell: Tell, answer: Tell, overtaken: TrackedProcess, result: Result
) -> None:
    at = overtaken.state_since + SECOND
    after, _, _ = tell(overtaken, result, at)
    once, _, _ = answer(after, ProcessNotFound(0, path_proven=True), at + 10 * MINUTE)
    assert once.state is State.REPORTED


def test_a_callback_before_the_call_does_not_make_its_result_stale(
    tell: Tell, answer: Tell, callback: MakeCallback, overdue: TrackedProcess
) -> None:
    at = overdue.state_since + MINUTE
    claimed, _, _ = tell(overdue, callback("accepted", at - 1), at)
    after, _, _ = answer(claimed, Fetched(0, "rejected"), at)
    assert (after.state, after.status) == (State.SETTLED, "rejected")


@pytest.mark.parametrize("result", REFUTATIONS)
def test_an_unconfirmed_callback_during_a_lease_settles_and_the_result_verifies_it(
    tell: Tell, callback: MakeCallback, fetching: TrackedProcess, trusting: Rules, result: Result
) -> None:
    at = fetching.state_since + SECOND
    settled, _, delivery = tell(fetching, callback("accepted", at), at, trusting)
    assert (settled.state, delivery) == (State.SETTLED, "process.settled")
    after, _, delivery = tell(settled, result, at + SECOND, trusting)
    assert (after.state, after.status, after.revision) == (State.SETTLED, "accepted", 0)
    assert delivery is None
    is_contradiction = result == Fetched(1, "rejected")
    assert (after.next_check_at is not None) == is_contradiction


def test_a_result_that_agrees_with_an_unconfirmed_callback_changes_nothing(
    tell: Tell, callback: MakeCallback, fetching: TrackedProcess, trusting: Rules
) -> None:
    at = fetching.state_since + SECOND
    settled, _, _ = tell(fetching, callback("accepted", at), at, trusting)
    after, _, delivery = tell(settled, Fetched(1, "accepted"), at + SECOND, trusting)
    assert (after.status, after.revision, after.next_check_at) == ("accepted", 0, None)
    assert delivery is None


@pytest.mark.parametrize(
    "result", [NotifyAccepted(1), CallRefused(1, "http_409"), CallFailed(1, "timeout")]
)
def test_after_a_callback_during_a_notify_the_claim_is_checked_at_once(
    tell: Tell,
    callback: MakeCallback,
    overdue: TrackedProcess,
    rules: Rules,
    result: NotifyAccepted | CallRefused | CallFailed,
) -> None:
    at = overdue.state_since
    held = lease(overdue, Verb.NOTIFY, "one", at, MINUTE)
    claimed, _, _ = tell(held, callback("accepted", at + SECOND), at + SECOND)
    after, _, _ = tell(claimed, result, at + 2 * SECOND)
    assert (after.state, after.claimed_status) == (State.REPORTED, "accepted")
    assert decide(after, rules, at + 2 * SECOND) == Call(Verb.FETCH)
    assert after.notify_attempts == 1


def test_a_verification_begun_before_a_callback_does_not_refute_its_claim(
    tell: Tell, callback: MakeCallback, settled: TrackedProcess, rules: Rules
) -> None:
    at = settled.state_since
    owed, _, _ = tell(settled, Recheck(None, "ann"), at)
    held = lease(owed, Verb.FETCH, "one", at, MINUTE)
    claimed, _, _ = tell(held, callback("rejected", at + SECOND), at + SECOND)
    after, _, _ = tell(claimed, Fetched(held.attempt, "accepted"), at + 2 * SECOND)
    assert (after.status, after.claimed_status) == ("accepted", "rejected")
    assert decide(after, rules, at + 2 * SECOND) == Call(Verb.FETCH)


@pytest.mark.parametrize("result", [Fetched(1, "pending"), ProcessNotFound(1, path_proven=True)])
def test_a_verification_begun_before_a_callback_is_owed_again(
    tell: Tell,
    callback: MakeCallback,
    settled: TrackedProcess,
    rules: Rules,
    result: Fetched | ProcessNotFound,
) -> None:
    at = settled.state_since
    owed, _, _ = tell(settled, Recheck(None, "ann"), at)
    held = lease(owed, Verb.FETCH, "one", at, MINUTE)
    claimed, _, _ = tell(held, callback("rejected", at + SECOND), at + SECOND)
    after, _, _ = tell(claimed, replace(result, attempt=held.attempt), at + 2 * SECOND)
    assert decide(after, rules, at + 2 * SECOND) == Call(Verb.FETCH)


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_the_result_of_a_lost_lease_is_dropped_with_a_timeline_entry(
    tell: Tell, any_process: TrackedProcess, lost: int
) -> None:
    at = any_process.state_since
    first = replace(any_process, attempt=1)
    held = lease(first, Verb.FETCH, "two", at + MINUTE, MINUTE)
    assert held.attempt == 2
    after, events, delivery = tell(held, Fetched(lost, "failed"), at + MINUTE + SECOND)
    assert (after, delivery) == (held, None)
    assert len(events) == 1


def test_a_result_that_comes_after_its_time_counts_while_nobody_took_over(
    tell: Tell, fetching: TrackedProcess
) -> None:
    at = fetching.state_since + 10 * MINUTE
    after, _, delivery = tell(fetching, Fetched(1, "accepted"), at)
    assert (after.state, after.lease, delivery) == (State.SETTLED, None, "process.settled")


@pytest.mark.parametrize("result", [*REFUTATIONS, Fetched(1, "accepted")])
def test_the_same_result_twice_changes_nothing_more(
    tell: Tell, any_process: TrackedProcess, result: Result
) -> None:
    at = any_process.state_since + MINUTE
    held = lease(any_process, Verb.FETCH, "one", at, MINUTE)
    result = replace(result, attempt=held.attempt)
    once, _, _ = tell(held, result, at + SECOND)
    assert once.lease is None
    assert tell(once, result, at + 10 * MINUTE) == (once, [], None)


@pytest.mark.parametrize("result", [NotifyAccepted(1), CallRefused(1, "http_409")])
def test_the_same_result_of_a_notify_twice_changes_nothing_more(
    tell: Tell, any_process: TrackedProcess, result: NotifyAccepted | CallRefused
) -> None:
    at = any_process.state_since + MINUTE
    held = lease(any_process, Verb.NOTIFY, "one", at, MINUTE)
    result = replace(result, attempt=held.attempt)
    once, _, _ = tell(held, result, at + SECOND)
    assert tell(once, result, at + 10 * MINUTE) == (once, [], None)
