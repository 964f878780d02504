"""lifecycle.md, the rows of the table whose observation is the result of a call, while open."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.ledger import (
    Call,
    Callback,
    CallFailed,
    CallRefused,
    Fetched,
    NotifyAccepted,
    ProcessNotFound,
    Rules,
    SettledBy,
    State,
    TimePassed,
    TrackedProcess,
    Verb,
    decide,
)
from reconciler.ledger.policy import HOUR, MINUTE, SECOND

Tell = Callable[..., tuple[TrackedProcess, list[str], str | None]]
MakeCallback = Callable[..., Callback]

FAILED = CallFailed(0, "http_503")
NOT_FOUND = ProcessNotFound(0, path_proven=True)


def test_a_notify_that_is_accepted_is_given_its_grace_before_the_next_rung(
    answer: Tell, overdue: TrackedProcess, rules: Rules
) -> None:
    at = overdue.state_since
    after, events, delivery = answer(overdue, NotifyAccepted(0), at)
    assert (after.state, after.next_check_at) == (State.OVERDUE, at + 2 * MINUTE)
    assert decide(after, rules, at + 2 * MINUTE) == Call(Verb.FETCH)
    assert (after.notify_attempts, after.fetch_attempts, after.round) == (1, 0, 0)
    assert events == ["notify_requested"]
    assert delivery is None


@pytest.mark.parametrize("error", ["http_400", "http_404", "http_409", "http_422"])
def test_a_notify_that_is_refused_is_followed_by_the_next_rung_at_once(
    answer: Tell, overdue: TrackedProcess, rules: Rules, error: str
) -> None:
    at = overdue.state_since
    after, _, delivery = answer(overdue, CallRefused(0, error), at)
    assert (after.state, after.next_check_at, after.last_error) == (State.OVERDUE, at, error)
    assert decide(after, rules, at) == Call(Verb.FETCH)
    assert delivery is None


def test_after_the_last_rung_the_next_round_begins_after_its_backoff(
    answer: Tell, overdue: TrackedProcess, rules: Rules
) -> None:
    twice = replace(rules, default=replace(rules.default, ladder=(Verb.NOTIFY, Verb.NOTIFY)))
    at = overdue.state_since
    once, _, _ = answer(overdue, CallRefused(0, "http_409"), at, rules=twice)
    assert (once.round, once.next_check_at) == (0, at)
    second, _, _ = answer(once, CallRefused(0, "http_409"), at, rules=twice)
    assert (second.round, second.next_check_at) == (1, at + 5 * MINUTE)
    assert decide(second, twice, at + 5 * MINUTE) == Call(Verb.NOTIFY)
    for backoff in (10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR, HOUR):
        at += HOUR
        once, _, _ = answer(second, CallRefused(0, "http_409"), at, rules=twice)
        second, _, _ = answer(once, CallRefused(0, "http_409"), at, rules=twice)
        assert second.next_check_at == at + backoff
    assert second.notify_attempts == 12


def test_a_final_status_settles_by_fetch_when_nobody_claimed_it(
    answer: Tell, overdue: TrackedProcess
) -> None:
    at = overdue.state_since + SECOND
    after, events, delivery = answer(overdue, Fetched(0, "rejected"), at, Verb.FETCH)
    assert (after.state, after.status, after.revision) == (State.SETTLED, "rejected", 0)
    assert (after.settled_by, after.settled_at) == (SettledBy.FETCH, at)
    assert (after.next_check_at, after.lane, after.lease) == (None, None, None)
    assert events == ["status_fetched", "process_settled"]
    assert delivery == "process.settled"


def test_a_final_status_found_after_a_notify_without_a_callback_is_found_by_fetch(
    answer: Tell, overdue: TrackedProcess
) -> None:
    asked, _, _ = answer(overdue, NotifyAccepted(0), overdue.state_since)
    after, _, _ = answer(asked, Fetched(0, "accepted"), asked.next_check_at)
    assert after.settled_by is SettledBy.FETCH


def test_a_confirmed_claim_settles_by_callback(answer: Tell, reported: TrackedProcess) -> None:
    after, events, delivery = answer(reported, Fetched(0, "accepted"), reported.state_since)
    assert (after.state, after.status) == (State.SETTLED, "accepted")
    assert after.settled_by is SettledBy.CALLBACK
    assert "status_conflict" not in events
    assert delivery == "process.settled"


def test_a_claim_that_get_process_contradicts_settles_with_what_was_fetched(
    answer: Tell, reported: TrackedProcess
) -> None:
    after, events, delivery = answer(reported, Fetched(0, "rejected"), reported.state_since)
    assert (after.state, after.status) == (State.SETTLED, "rejected")
    assert after.claimed_status == "accepted"
    assert after.settled_by is SettledBy.CALLBACK
    assert "status_conflict" in events
    assert delivery == "process.settled"


@pytest.mark.parametrize(
    ("status", "final_result", "state"),
    [
        ("pending", False, State.WAITING),
        ("processing", False, State.WAITING),
        ("weird", False, State.WAITING),
        ("weird", True, State.SETTLED),
        ("accepted", False, State.SETTLED),
    ],
)
def test_an_unknown_status_is_final_with_a_final_result(
    answer: Tell, overdue: TrackedProcess, status: str, final_result: bool, state: State
) -> None:
    fetched = Fetched(0, status, has_final_result=final_result)
    after, events, _ = answer(overdue, fetched, overdue.state_since, Verb.FETCH)
    assert after.state is state
    assert after.status == (status if state is State.SETTLED else None)
    assert ("status_unknown" in events) == (status == "weird")


@pytest.mark.parametrize("claim", ["weird", "accepted"])
def test_an_unknown_status_confirms_no_claim_at_once(
    tell: Tell,
    answer: Tell,
    callback: MakeCallback,
    overdue: TrackedProcess,
    claim: str,
) -> None:
    at = overdue.state_since
    claimed, _, _ = tell(overdue, callback(claim, at), at)
    after, events, _ = answer(claimed, Fetched(0, "weird"), at + SECOND)
    assert (after.state, after.status) == (State.REPORTED, None)
    assert "status_unknown" in events


def test_a_pending_process_waits_for_its_end_user(answer: Tell, overdue: TrackedProcess) -> None:
    at = overdue.state_since + SECOND
    after, events, delivery = answer(overdue, Fetched(0, "pending"), at, Verb.FETCH)
    assert (after.state, after.state_since, after.round) == (State.WAITING, at, 1)
    assert after.next_check_at == at + 5 * MINUTE
    assert events == ["status_fetched"]
    assert delivery is None


def test_the_rounds_of_a_pending_process_are_of_fetch_only_and_ever_more_seldom(
    tell: Tell, answer: Tell, overdue: TrackedProcess, rules: Rules
) -> None:
    process = answer(overdue, Fetched(0, "pending"), overdue.state_since, Verb.FETCH)[0]
    for backoff in (10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR, HOUR):
        due = process.next_check_at
        assert due is not None
        process, _, _ = tell(process, TimePassed(), due)
        assert (process.state, process.state_since) == (State.OVERDUE, due)
        assert decide(process, rules, due) == Call(Verb.FETCH)
        process, _, _ = answer(process, Fetched(0, "processing"), due)
        assert (process.state, process.next_check_at) == (State.WAITING, due + backoff)
    assert (process.notify_attempts, process.fetch_attempts) == (0, 6)


def test_a_claim_that_get_process_does_not_show_yet_is_asked_for_again_soon(
    answer: Tell, reported: TrackedProcess, rules: Rules
) -> None:
    process, at = reported, reported.state_since
    for seconds in (5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600):
        process, _, delivery = answer(process, Fetched(0, "pending"), at)
        assert (process.state, process.claimed_status) == (State.REPORTED, "accepted")
        assert process.state_since == reported.state_since
        assert process.next_check_at == at + seconds * SECOND
        assert delivery is None
        at += seconds * SECOND
        assert decide(process, rules, at) == Call(Verb.FETCH)


def test_the_waits_for_a_new_claim_begin_again(
    tell: Tell, answer: Tell, callback: MakeCallback, reported: TrackedProcess
) -> None:
    at = reported.state_since
    for _ in range(6):
        reported, _, _ = answer(reported, Fetched(0, "pending"), at)
        at = reported.next_check_at or 0
    other, _, _ = tell(reported, callback("rejected", at), at)
    after, _, _ = answer(other, Fetched(0, "pending"), at)
    assert after.next_check_at == at + 5 * SECOND
