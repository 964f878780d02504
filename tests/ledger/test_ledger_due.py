"""lifecycle.md: when a process is due, when it turns overdue, and in which lane."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.ledger import (
    Call,
    Fetched,
    Idle,
    Lane,
    Lease,
    ProcessNotFound,
    Recheck,
    Rules,
    State,
    TimePassed,
    TrackedProcess,
    TurnOverdue,
    Verb,
    decide,
    lease,
    transition,
)
from reconciler.ledger.policy import DAY, HOUR, MINUTE, SECOND

Tell = Callable[..., tuple[TrackedProcess, list[str], str | None]]


def test_a_waiting_process_turns_overdue_when_its_timeout_is_over(
    tell: Tell, waiting: TrackedProcess, rules: Rules
) -> None:
    due = waiting.registered_at + 15 * MINUTE
    assert decide(waiting, rules, due - 1) == Idle()
    assert tell(waiting, TimePassed(), due - 1) == (waiting, [], None)
    assert decide(waiting, rules, due) == TurnOverdue()
    after, events, delivery = tell(waiting, TimePassed(), due)
    assert (after.state, after.state_since) == (State.OVERDUE, due)
    assert events == ["process_overdue"]
    assert delivery is None


def test_an_overdue_process_is_due_at_once_for_its_first_rung(
    overdue: TrackedProcess, rules: Rules
) -> None:
    assert overdue.next_check_at is not None
    assert overdue.next_check_at <= overdue.state_since
    assert decide(overdue, rules, overdue.state_since) == Call(Verb.NOTIFY)


def test_the_ladder_is_what_the_operator_has_set(overdue: TrackedProcess, rules: Rules) -> None:
    fetch_first = replace(rules, default=replace(rules.default, ladder=(Verb.FETCH, Verb.NOTIFY)))
    assert decide(overdue, fetch_first, overdue.state_since) == Call(Verb.FETCH)


def test_the_age_of_an_overdue_process_counts_from_its_last_turn(
    tell: Tell, answer: Tell, overdue: TrackedProcess
) -> None:
    pending, _, _ = answer(overdue, Fetched(0, "pending"), overdue.state_since, Verb.FETCH)
    at = overdue.state_since + DAY
    again, events, _ = tell(pending, TimePassed(), at)
    assert (again.state, again.state_since) == (State.OVERDUE, at)
    assert events == []  # the end user is late: no news


@pytest.mark.parametrize("state", ["overdue", "reported", "settled", "gone", "expired"])
def test_time_alone_changes_only_a_waiting_process(
    tell: Tell, request: pytest.FixtureRequest, state: str
) -> None:
    process = request.getfixturevalue(state)
    assert tell(process, TimePassed(), process.state_since + 30 * DAY) == (process, [], None)


def test_time_that_passes_twice_changes_nothing_more(tell: Tell, overdue: TrackedProcess) -> None:
    assert tell(overdue, TimePassed(), overdue.state_since + HOUR) == (overdue, [], None)


def test_an_open_process_always_has_a_due_time(open_process: TrackedProcess) -> None:
    assert open_process.next_check_at is not None


def test_a_terminal_process_is_never_due(terminal: TrackedProcess, rules: Rules) -> None:
    assert (terminal.next_check_at, terminal.lane) == (None, None)
    assert decide(terminal, rules, terminal.state_since + 90 * DAY) == Idle()


def test_a_leased_process_is_left_alone_until_the_lease_ends(
    reported: TrackedProcess, rules: Rules
) -> None:
    at = reported.state_since
    held = lease(reported, Verb.FETCH, "one", at, 40 * SECOND)
    assert held.attempt == 1
    assert held.lease == Lease(owner="one", verb=Verb.FETCH, begun_at=at, until=at + 40 * SECOND)
    assert decide(held, rules, at + 40 * SECOND - 1) == Idle()
    assert decide(held, rules, at + 40 * SECOND) == Call(Verb.FETCH)


def test_the_queues_serve_claims_first_and_downtime_checks_last(
    tell: Tell,
    waiting: TrackedProcess,
    overdue: TrackedProcess,
    reported: TrackedProcess,
    settled: TrackedProcess,
) -> None:
    owed, _, _ = tell(settled, Recheck(None, "ann"), settled.state_since)
    asked, _, _ = tell(waiting, Recheck(None, "ann"), waiting.state_since)
    missed = replace(waiting, catch_up=True)
    lanes = [process.lane for process in (reported, owed, asked, overdue, missed, waiting)]
    assert lanes == [0, 0, 1, 2, 3, 4]
    assert lanes == sorted(Lane(lane) for lane in lanes if lane is not None)


def test_a_process_that_waited_during_downtime_gets_one_fetch_before_its_timeout(
    answer: Tell, waiting: TrackedProcess, rules: Rules
) -> None:
    missed = replace(waiting, catch_up=True)
    at = waiting.registered_at + MINUTE
    assert decide(missed, rules, at) == Call(Verb.FETCH)
    after, _, _ = answer(missed, Fetched(0, "pending"), at)
    assert (after.state, after.catch_up) == (State.WAITING, False)
    assert after.next_check_at == waiting.next_check_at
    assert decide(after, rules, at + MINUTE) == Idle()


def test_a_downtime_check_close_to_the_timeout_is_followed_by_the_backoff(
    answer: Tell, waiting: TrackedProcess
) -> None:
    at = waiting.registered_at + 14 * MINUTE
    after, _, _ = answer(replace(waiting, catch_up=True), Fetched(0, "pending"), at)
    assert after.next_check_at == at + 5 * MINUTE


def test_a_downtime_check_that_fails_is_not_made_again(
    answer: Tell, waiting: TrackedProcess, rules: Rules
) -> None:
    at = waiting.registered_at + MINUTE
    after, _, _ = answer(replace(waiting, catch_up=True), ProcessNotFound(0, path_proven=False), at)
    assert (after.state, after.next_check_at) == (State.WAITING, waiting.next_check_at)
    assert decide(after, rules, at + MINUTE) == Idle()


def test_a_downtime_check_that_finds_the_result_settles(
    answer: Tell, waiting: TrackedProcess
) -> None:
    at = waiting.registered_at + MINUTE
    after, _, delivery = answer(replace(waiting, catch_up=True), Fetched(0, "accepted"), at)
    assert (after.state, delivery) == (State.SETTLED, "process.settled")


def test_what_happens_to_an_unknown_process_means_nothing(rules: Rules) -> None:
    for observation in (TimePassed(), Recheck(None, "ann"), Fetched(1, "accepted")):
        outcome = transition(None, observation, rules, 0)
        assert (outcome.process, outcome.entries, outcome.delivery) == (None, (), None)
