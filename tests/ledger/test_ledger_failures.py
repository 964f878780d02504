"""lifecycle.md, the rows about 404, failed and throttled calls, while open."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.ledger import (
    Call,
    CallFailed,
    CallThrottled,
    Fetched,
    NotifyAccepted,
    ProcessNotFound,
    Rules,
    State,
    TimePassed,
    TrackedProcess,
    Verb,
    decide,
)
from reconciler.ledger.policy import HOUR, MINUTE, SECOND

Tell = Callable[..., tuple[TrackedProcess, list[str], str | None]]

FAILED = CallFailed(0, "http_503")
NOT_FOUND = ProcessNotFound(0, path_proven=True)


def test_the_second_404_one_backoff_later_makes_a_process_gone(
    answer: Tell, open_process: TrackedProcess
) -> None:
    at = open_process.state_since + HOUR
    once, events, delivery = answer(open_process, NOT_FOUND, at, Verb.FETCH)
    assert (once.state, once.next_check_at) == (open_process.state, at + 5 * MINUTE)
    assert "fetch_failed" in events
    assert delivery is None
    after, events, delivery = answer(once, NOT_FOUND, at + 5 * MINUTE, Verb.FETCH)
    assert (after.state, after.status, after.next_check_at) == (State.GONE, None, None)
    assert after.claimed_status == open_process.claimed_status
    assert "process_gone" in events
    assert delivery == "process.gone"


def test_a_404_sooner_than_one_backoff_after_the_first_does_not_count(
    answer: Tell, overdue: TrackedProcess
) -> None:
    at = overdue.state_since
    once, _, _ = answer(overdue, NOT_FOUND, at, Verb.FETCH)
    again, _, delivery = answer(once, NOT_FOUND, at + 5 * MINUTE - 1, Verb.FETCH)
    assert (again.state, delivery) == (State.OVERDUE, None)
    after, _, _ = answer(again, NOT_FOUND, at + 5 * MINUTE, Verb.FETCH)
    assert after.state is State.GONE


def test_a_process_that_answered_between_two_404s_is_not_gone(
    tell: Tell, answer: Tell, overdue: TrackedProcess
) -> None:
    at = overdue.state_since
    once, _, _ = answer(overdue, NOT_FOUND, at, Verb.FETCH)
    seen, _, _ = answer(once, Fetched(0, "pending"), at + HOUR)
    late, _, _ = tell(seen, TimePassed(), at + 3 * HOUR)
    again, _, delivery = answer(late, NOT_FOUND, at + 3 * HOUR)
    assert (again.state, delivery) == (State.OVERDUE, None)
    after, _, _ = answer(again, NOT_FOUND, at + 5 * HOUR)
    assert after.state is State.GONE


def test_after_a_404_nobody_is_asked_to_send_a_callback(
    answer: Tell, overdue: TrackedProcess, rules: Rules
) -> None:
    once, _, _ = answer(overdue, NOT_FOUND, overdue.state_since, Verb.FETCH)
    assert decide(once, rules, overdue.state_since + HOUR) == Call(Verb.FETCH)


def test_a_404_under_an_address_that_never_answered_is_a_failed_call(
    answer: Tell, overdue: TrackedProcess
) -> None:
    at = overdue.state_since
    for wait in (30, 60, 120):
        overdue, _, _ = answer(overdue, ProcessNotFound(0, path_proven=False), at, Verb.FETCH)
        assert (overdue.state, overdue.next_check_at) == (State.OVERDUE, at + wait * SECOND)
        at += wait * SECOND
    for _ in range(20):
        at += HOUR
        overdue, events, delivery = answer(
            overdue, ProcessNotFound(0, path_proven=False), at, Verb.FETCH
        )
        assert (overdue.state, events, delivery) == (State.OVERDUE, ["fetch_failed"], None)


@pytest.mark.parametrize("state", ["overdue", "reported"])
def test_a_failed_call_is_made_again_three_times_and_then_the_next_rung_follows(
    answer: Tell, rules: Rules, request: pytest.FixtureRequest, state: str
) -> None:
    process: TrackedProcess = request.getfixturevalue(state)
    at = process.state_since
    verb = Verb.NOTIFY if process.state is State.OVERDUE else Verb.FETCH
    for wait in (30, 60, 120):
        assert decide(process, rules, at) == Call(verb)
        process, _, delivery = answer(process, FAILED, at)
        assert (process.state.value, process.next_check_at) == (state, at + wait * SECOND)
        assert (process.last_error, process.round, delivery) == ("http_503", 0, None)
        at += wait * SECOND
    assert decide(process, rules, at) == Call(verb)
    process, _, _ = answer(process, FAILED, at)
    assert process.state.value == state
    rounds = 0 if process.state is State.OVERDUE else 1
    assert (process.round, process.next_check_at) == (rounds, at + rounds * 5 * MINUTE)
    assert decide(process, rules, at + rounds * 5 * MINUTE) == Call(Verb.FETCH)


def test_each_rung_has_three_retries_of_its_own(
    answer: Tell, overdue: TrackedProcess, rules: Rules
) -> None:
    at = overdue.state_since
    for verb in (Verb.NOTIFY,) * 4 + (Verb.FETCH,) * 4:
        assert decide(overdue, rules, at) == Call(verb)
        overdue, _, _ = answer(overdue, FAILED, at)
        assert overdue.next_check_at is not None
        at = overdue.next_check_at
    assert (overdue.state, overdue.round, overdue.tries) == (State.OVERDUE, 1, 0)
    assert decide(overdue, rules, at) == Call(Verb.NOTIFY)
    assert (overdue.notify_attempts, overdue.fetch_attempts) == (4, 4)


def test_an_answer_ends_the_row_of_failures(answer: Tell, reported: TrackedProcess) -> None:
    at = reported.state_since
    process, _, _ = answer(reported, FAILED, at)
    process, _, _ = answer(process, FAILED, at + MINUTE)
    process, _, _ = answer(process, Fetched(0, "pending"), at + 2 * MINUTE)
    process, _, _ = answer(process, FAILED, at + 3 * MINUTE)
    assert process.next_check_at == at + 3 * MINUTE + 30 * SECOND


@pytest.mark.parametrize("verb", [Verb.NOTIFY, Verb.FETCH])
def test_a_throttled_call_spends_nothing(
    answer: Tell, any_process: TrackedProcess, verb: Verb
) -> None:
    at = any_process.state_since + SECOND
    after, _, delivery = answer(any_process, CallThrottled(0), at, verb)
    assert after == replace(any_process, attempt=after.attempt)
    assert delivery is None


def test_an_answer_clears_the_last_error(answer: Tell, overdue: TrackedProcess) -> None:
    failed, _, _ = answer(overdue, FAILED, overdue.state_since)
    assert failed.last_error == "http_503"
    at = overdue.state_since + MINUTE
    for result in (NotifyAccepted(0), Fetched(0, "pending"), Fetched(0, "accepted")):
        after, _, _ = answer(
            failed, result, at, Verb.NOTIFY if result == NotifyAccepted(0) else Verb.FETCH
        )
        assert after.last_error is None
