"""lifecycle.md, "Words": statuses in whatever letter case, and those that stand in no list."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.ledger import (
    Call,
    Callback,
    CallFailed,
    Fetched,
    Rules,
    SettledBy,
    State,
    TrackedProcess,
    Verb,
    decide,
)
from reconciler.ledger.policy import DAY, HOUR, MINUTE, SECOND

Tell = Callable[..., tuple[TrackedProcess, list[str], str | None]]
MakeCallback = Callable[..., Callback]


@pytest.fixture
def in_review(tell: Tell, callback: MakeCallback, waiting: TrackedProcess) -> TrackedProcess:
    """Reported, with a claim that stands in no list."""
    at = waiting.state_since + MINUTE
    return tell(waiting, callback("in_review", at), at)[0]


def look(answer: Tell, process: TrackedProcess, status: str) -> TrackedProcess:
    return answer(process, Fetched(0, status), process.next_check_at)[0]


def test_a_final_status_in_capitals_settles_and_is_kept_as_it_was_answered(
    answer: Tell, overdue: TrackedProcess
) -> None:
    after, events, _ = answer(overdue, Fetched(0, "Accepted"), overdue.state_since, Verb.FETCH)
    assert (after.state, after.status) == (State.SETTLED, "Accepted")
    assert "status_unknown" not in events


def test_a_claim_and_an_answer_that_differ_in_case_are_no_conflict(
    tell: Tell, answer: Tell, callback: MakeCallback, waiting: TrackedProcess
) -> None:
    at = waiting.state_since
    claimed, _, _ = tell(waiting, callback("ACCEPTED", at), at)
    again, events, _ = tell(claimed, callback("accepted", at), at)
    assert (again.duplicates, "status_conflict" in events) == (1, False)
    after, events, _ = answer(claimed, Fetched(0, "accepted"), at)
    assert (after.status, after.settled_by) == ("accepted", SettledBy.CALLBACK)
    assert "status_conflict" not in events


@pytest.mark.parametrize("status", ["PENDING", "Processing"])
def test_a_pending_status_in_capitals_settles_nothing(
    tell: Tell,
    answer: Tell,
    callback: MakeCallback,
    waiting: TrackedProcess,
    overdue: TrackedProcess,
    status: str,
) -> None:
    at = waiting.state_since
    assert tell(waiting, callback(status, at), at)[0].state is State.WAITING
    assert answer(overdue, Fetched(0, status), overdue.state_since, Verb.FETCH)[0].state is (
        State.WAITING
    )


def test_the_lists_of_the_configuration_may_be_in_capitals(
    tell: Tell, answer: Tell, rules: Rules, overdue: TrackedProcess
) -> None:
    own = replace(
        rules, final_statuses=frozenset({"DONE"}), pending_statuses=frozenset({"In Work"})
    )
    at = overdue.state_since
    assert answer(overdue, Fetched(0, "done"), at, Verb.FETCH, own)[0].status == "done"
    assert answer(overdue, Fetched(0, "in work"), at, Verb.FETCH, own)[0].state is State.WAITING


@pytest.mark.parametrize("status", ["ACCEPTED", "accepted"])
def test_a_settled_status_in_another_case_is_a_duplicate_and_corrects_nothing(
    tell: Tell, answer: Tell, callback: MakeCallback, settled: TrackedProcess, status: str
) -> None:
    at = settled.state_since + HOUR
    again, events, _ = tell(settled, callback(status, at), at)
    assert (again.duplicates, again.next_check_at) == (1, None)
    assert "status_conflict" not in events
    owed = tell(settled, callback("rejected", at), at)[0]
    after, events, delivery = answer(owed, Fetched(0, status), at)
    assert (after.status, after.revision, delivery) == ("accepted", 0, None)


def test_a_claim_in_no_list_is_not_settled_by_an_answer_that_says_the_same(
    answer: Tell, in_review: TrackedProcess
) -> None:
    """Two views of the same unfinished state confirm nothing."""
    process = in_review
    for wait in (5 * SECOND, 10 * SECOND, 20 * SECOND):
        at = process.next_check_at
        process, events, delivery = answer(process, Fetched(0, "in_review"), at)
        assert (process.state, process.status) == (State.REPORTED, None)
        assert process.next_check_at == (at or 0) + wait
        assert (events, delivery) == (["status_unknown", "status_fetched"], None)
    after, _, _ = answer(process, Fetched(0, "rejected"), process.next_check_at)
    assert (after.state, after.status) == (State.SETTLED, "rejected")


def test_a_word_that_has_stood_for_an_hour_settles_and_is_verified_a_day_later(
    answer: Tell, rules: Rules, in_review: TrackedProcess
) -> None:
    process, first = in_review, in_review.next_check_at or 0
    while process.state is State.REPORTED:
        at = process.next_check_at or 0
        process, events, delivery = answer(process, Fetched(0, "In_Review"), at)
    assert HOUR <= at - first < 2 * HOUR
    assert (process.status, process.settled_by) == ("In_Review", SettledBy.CALLBACK)
    assert (events[-1], delivery) == ("process_settled", "process.settled")
    assert process.next_check_at == at + DAY
    assert decide(process, rules, at + DAY) == Call(Verb.FETCH)
    after, _, delivery = answer(process, Fetched(0, "rejected"), at + DAY)
    assert (after.status, after.revision, delivery) == ("rejected", 1, "process.corrected")
    same, _, delivery = answer(process, Fetched(0, "in_review"), at + DAY)
    assert (same.status, same.next_check_at, delivery) == ("In_Review", None, None)


def test_an_earlier_verification_that_says_nothing_new_does_not_replace_that_of_the_next_day(
    tell: Tell, answer: Tell, callback: MakeCallback, in_review: TrackedProcess
) -> None:
    process = in_review
    while process.state is State.REPORTED:
        at = process.next_check_at or 0
        process = look(answer, process, "in_review")
    owed = tell(process, callback("rejected", at + SECOND), at + SECOND)[0]
    after, _, _ = answer(owed, Fetched(0, "in_review"), at + SECOND)
    assert after.next_check_at == at + DAY


def test_an_hour_needs_three_looks(answer: Tell, in_review: TrackedProcess) -> None:
    once = look(answer, in_review, "in_review")
    twice = answer(once, Fetched(0, "in_review"), (once.unknown_since or 0) + 5 * HOUR)[0]
    assert twice.state is State.REPORTED
    assert look(answer, twice, "in_review").state is State.SETTLED


@pytest.mark.parametrize("other", ["pending", "being_checked"])
def test_another_word_in_between_starts_the_hour_again(
    answer: Tell, in_review: TrackedProcess, other: str
) -> None:
    process = in_review
    for _ in range(9):
        process = look(answer, process, "in_review")
    process = look(answer, look(answer, process, other), "in_review")
    assert (process.state, process.unknown_looks) == (State.REPORTED, 1)


def test_a_failed_call_in_between_does_not(answer: Tell, in_review: TrackedProcess) -> None:
    process = in_review
    for _ in range(9):
        process = look(answer, process, "in_review")
    process = answer(process, CallFailed(0, "timeout"), process.next_check_at)[0]
    assert process.unknown_looks == 9
    assert look(answer, process, "in_review").unknown_looks == 10


def test_a_word_that_is_not_what_the_callback_claims_never_settles(
    tell: Tell, answer: Tell, reported: TrackedProcess, overdue: TrackedProcess
) -> None:
    process = reported
    for _ in range(30):
        process = look(answer, process, "in_review")
        assert (process.state, process.status) == (State.REPORTED, None)
    process = answer(overdue, Fetched(0, "in_review"), overdue.state_since, Verb.FETCH)[0]
    for _ in range(5):
        assert process.state is State.WAITING
        process = answer(process, Fetched(0, "in_review"), process.next_check_at, Verb.FETCH)[0]
