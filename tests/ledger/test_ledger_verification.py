"""lifecycle.md, the rows about terminal states: a final status is corrected, never overwritten."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.ledger import (
    Call,
    Callback,
    CallFailed,
    CallRefused,
    Fetched,
    ProcessNotFound,
    Recheck,
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


@pytest.fixture(params=["callback", "recheck"])
def owed(
    request: pytest.FixtureRequest, terminal: TrackedProcess, tell: Tell, callback: MakeCallback
) -> TrackedProcess:
    """Terminal, with a verification owed since an hour after."""
    at = terminal.state_since + HOUR
    news = callback("rejected", at) if request.param == "callback" else Recheck(None, "ann")
    return tell(terminal, news, at)[0]


def test_a_person_may_have_a_terminal_process_verified(
    tell: Tell, terminal: TrackedProcess, rules: Rules
) -> None:
    at = terminal.state_since + HOUR
    after, events, delivery = tell(terminal, Recheck(Verb.FETCH, "ann"), at)
    assert (after.state, after.status) == (terminal.state, terminal.status)
    assert (after.state_since, after.next_check_at) == (terminal.state_since, at)
    assert decide(after, rules, at) == Call(Verb.FETCH)
    assert events == ["operator_action"]
    assert delivery is None


def test_a_verification_that_finds_another_final_status_corrects(
    answer: Tell, owed: TrackedProcess
) -> None:
    at = owed.state_since + 2 * HOUR
    after, events, delivery = answer(owed, Fetched(0, "failed"), at)
    assert (after.state, after.status, after.revision) == (State.SETTLED, "failed", 1)
    assert (after.settled_at, after.next_check_at) == (at, None)
    if owed.state is State.SETTLED:
        assert delivery == "process.corrected"
        assert after.state_since == owed.state_since
    else:
        assert delivery == "process.settled"
        assert after.state_since == at
        assert "process_settled" in events


def test_each_correction_raises_the_revision_by_one(
    tell: Tell, answer: Tell, settled: TrackedProcess
) -> None:
    process = settled
    for revision, status in enumerate(["rejected", "accepted", "failed"], start=1):
        at = settled.state_since + revision * HOUR
        process, _, _ = tell(process, Recheck(None, "ann"), at)
        process, _, delivery = answer(process, Fetched(0, status), at)
        assert (process.status, process.revision) == (status, revision)
        assert delivery == "process.corrected"


def test_a_correction_that_a_callback_brought_is_settled_by_it(
    tell: Tell, answer: Tell, callback: MakeCallback, terminal: TrackedProcess
) -> None:
    at = terminal.state_since + HOUR
    claimed, _, _ = tell(terminal, callback("rejected", at), at)
    after, _, _ = answer(claimed, Fetched(0, "rejected"), at)
    assert after.settled_by is SettledBy.CALLBACK


def test_a_correction_that_nobody_claimed_is_settled_by_fetch(
    tell: Tell, answer: Tell, terminal: TrackedProcess
) -> None:
    at = terminal.state_since + HOUR
    asked, _, _ = tell(terminal, Recheck(None, "ann"), at)
    after, _, _ = answer(asked, Fetched(0, "rejected"), at)
    assert after.settled_by is SettledBy.FETCH


@pytest.mark.parametrize(
    "result", [Fetched(0, "pending"), Fetched(0, "weird"), ProcessNotFound(0, path_proven=True)]
)
def test_a_verification_that_finds_nothing_final_leaves_the_state(
    answer: Tell, owed: TrackedProcess, result: Fetched | ProcessNotFound
) -> None:
    after, _, delivery = answer(owed, result, owed.state_since + 2 * HOUR)
    assert (after.state, after.status, after.revision) == (owed.state, owed.status, 0)
    assert (after.settled_by, after.settled_at) == (owed.settled_by, owed.settled_at)
    assert (after.state_since, after.next_check_at) == (owed.state_since, None)
    assert after.lane is None
    assert delivery is None


def test_a_verification_that_finds_the_same_leaves_the_state(
    tell: Tell, answer: Tell, settled: TrackedProcess, callback: MakeCallback
) -> None:
    at = settled.state_since + HOUR
    claimed, _, _ = tell(settled, callback("rejected", at), at)
    after, _, delivery = answer(claimed, Fetched(0, "accepted"), at)
    assert (after.state, after.status, after.revision) == (State.SETTLED, "accepted", 0)
    assert (after.settled_by, after.next_check_at) == (SettledBy.CALLBACK, None)
    assert delivery is None


@pytest.mark.parametrize(
    "error", [CallFailed(0, "http_503"), CallRefused(0, "http_400"), ProcessNotFound(0, False)]
)
def test_a_verification_that_fails_is_still_owed(
    answer: Tell,
    owed: TrackedProcess,
    rules: Rules,
    error: CallFailed | CallRefused | ProcessNotFound,
) -> None:
    at = owed.state_since + 2 * HOUR
    after, _, delivery = answer(owed, error, at)
    assert (after.state, after.status) == (owed.state, owed.status)
    assert after.next_check_at is not None
    assert at < after.next_check_at <= at + 5 * MINUTE
    assert decide(after, rules, after.next_check_at) == Call(Verb.FETCH)
    assert delivery is None


def test_a_verification_that_never_succeeds_lapses(answer: Tell, owed: TrackedProcess) -> None:
    since = owed.next_check_at
    assert since is not None
    process, at, made = owed, since, 0
    while process.next_check_at is not None:
        at = process.next_check_at
        process, _, delivery = answer(process, CallFailed(0, "http_503"), at)
        made += 1
        assert delivery is None
    assert since + 14 * DAY <= at <= since + 14 * DAY + 2 * HOUR
    assert made > 14 * 24
    assert process.state is owed.state
    assert process.lane is None


def test_a_verification_is_owed_again_after_it_lapsed(
    tell: Tell, answer: Tell, terminal: TrackedProcess
) -> None:
    at = terminal.state_since
    for start in (at + DAY, at + 60 * DAY):
        terminal, _, _ = tell(terminal, Recheck(None, "ann"), start)
        assert terminal.next_check_at == start
        terminal, _, _ = answer(terminal, CallFailed(0, "http_503"), start)
        assert terminal.next_check_at == start + 30 * SECOND
        terminal, _, _ = answer(terminal, Fetched(0, "pending"), start + MINUTE)
        assert terminal.next_check_at is None


def test_a_final_status_in_neither_list_needs_a_final_result_to_correct(
    tell: Tell, answer: Tell, terminal: TrackedProcess
) -> None:
    at = terminal.state_since + HOUR
    owed, _, _ = tell(terminal, Recheck(None, "ann"), at)
    after, _, _ = answer(owed, Fetched(0, "weird", has_final_result=True), at)
    assert (after.state, after.status, after.revision) == (State.SETTLED, "weird", 1)


def test_a_call_whose_verification_nobody_owes_changes_no_due_time(
    answer: Tell, terminal: TrackedProcess
) -> None:
    at = terminal.state_since + HOUR
    for result in (CallFailed(0, "timeout"), CallRefused(0, "http_400"), ProcessNotFound(0, False)):
        after, _, delivery = answer(terminal, result, at, Verb.FETCH)
        assert (after.state, after.next_check_at, delivery) == (terminal.state, None, None)
    after, _, _ = answer(terminal, CallFailed(0, "timeout"), at, Verb.NOTIFY)
    assert replace(after, last_error=None) == replace(
        terminal,
        attempt=after.attempt,
        notify_attempts=after.notify_attempts,
        recent_calls=after.recent_calls,
        last_error=None,
    )
