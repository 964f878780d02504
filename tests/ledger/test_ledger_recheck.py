"""lifecycle.md, the row "recheck by a person": the verb is honoured once, in any state."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.ledger import (
    Call,
    CallFailed,
    CallRefused,
    CallThrottled,
    Fetched,
    Idle,
    NotifyAccepted,
    Policy,
    Recheck,
    Rules,
    State,
    TimePassed,
    TrackedProcess,
    Verb,
    decide,
    lease,
    transition,
)
from reconciler.ledger.policy import DAY, HOUR, MINUTE, SECOND

Tell = Callable[..., tuple[TrackedProcess, list[str], str | None]]


@pytest.mark.parametrize("verb", [Verb.NOTIFY, Verb.FETCH])
def test_a_recheck_makes_any_process_due_now_with_the_given_verb(
    tell: Tell, any_process: TrackedProcess, rules: Rules, verb: Verb
) -> None:
    at = any_process.state_since + SECOND
    after, events, delivery = tell(any_process, Recheck(verb, "ann"), at)
    assert (after.state, after.status) == (any_process.state, any_process.status)
    assert decide(after, rules, at) == Call(verb)
    assert events == ["operator_action"]
    assert delivery is None


@pytest.mark.parametrize(
    ("state", "verb"),
    [
        ("waiting", Verb.NOTIFY),
        ("overdue", Verb.NOTIFY),
        ("reported", Verb.FETCH),
        ("settled", Verb.FETCH),
        ("gone", Verb.FETCH),
        ("expired", Verb.FETCH),
    ],
)
def test_a_recheck_without_a_verb_does_what_is_next(
    tell: Tell, rules: Rules, request: pytest.FixtureRequest, state: str, verb: Verb
) -> None:
    process = request.getfixturevalue(state)
    after, _, _ = tell(process, Recheck(None, "ann"), process.state_since)
    assert decide(after, rules, process.state_since) == Call(verb)


def test_a_recheck_names_the_person(overdue: TrackedProcess, rules: Rules) -> None:
    outcome = transition(overdue, Recheck(Verb.FETCH, "ann"), rules, overdue.state_since)
    assert [entry.fields["by"] for entry in outcome.entries] == ["ann"]


def test_a_waiting_process_found_pending_by_a_recheck_waits_for_its_timeout(
    tell: Tell, answer: Tell, waiting: TrackedProcess, rules: Rules
) -> None:
    at = waiting.registered_at + MINUTE
    asked, _, _ = tell(waiting, Recheck(Verb.FETCH, "ann"), at)
    after, _, _ = answer(asked, Fetched(0, "pending"), at)
    assert (after.state, after.next_check_at) == (State.WAITING, waiting.next_check_at)
    assert decide(after, rules, at + MINUTE) == Idle()


@pytest.mark.parametrize("result", [NotifyAccepted(0), CallRefused(0, "http_409")])
def test_a_waiting_process_keeps_its_timeout_after_a_notify(
    tell: Tell, answer: Tell, waiting: TrackedProcess, result: NotifyAccepted | CallRefused
) -> None:
    at = waiting.registered_at + MINUTE
    asked, _, _ = tell(waiting, Recheck(Verb.NOTIFY, "ann"), at)
    after, _, _ = answer(asked, result, at)
    assert (after.state, after.next_check_at) == (State.WAITING, waiting.next_check_at)


def test_a_failed_recheck_is_made_again_three_times(
    tell: Tell, answer: Tell, waiting: TrackedProcess, rules: Rules
) -> None:
    at = waiting.registered_at
    process, _, _ = tell(waiting, Recheck(Verb.FETCH, "ann"), at)
    for wait in (30, 60, 120):
        assert decide(process, rules, at) == Call(Verb.FETCH)
        process, _, _ = answer(process, CallFailed(0, "timeout"), at)
        assert process.next_check_at == at + wait * SECOND
        at += wait * SECOND
    process, _, _ = answer(process, CallFailed(0, "timeout"), at)
    assert (process.state, process.next_check_at) == (State.WAITING, waiting.next_check_at)


def test_a_throttled_recheck_is_still_owed(
    tell: Tell, answer: Tell, any_process: TrackedProcess, rules: Rules
) -> None:
    at = any_process.state_since
    asked, _, _ = tell(any_process, Recheck(Verb.NOTIFY, "ann"), at)
    after, _, _ = answer(asked, CallThrottled(0), at)
    assert decide(after, rules, at) == Call(Verb.NOTIFY)


@pytest.mark.parametrize(
    "result", [NotifyAccepted(0), CallRefused(0, "http_409"), CallFailed(0, "timeout")]
)
@pytest.mark.parametrize("state", ["reported", "settled", "gone", "expired"])
def test_after_a_persons_notify_get_process_follows(
    tell: Tell,
    answer: Tell,
    rules: Rules,
    request: pytest.FixtureRequest,
    state: str,
    result: NotifyAccepted | CallRefused | CallFailed,
) -> None:
    process = request.getfixturevalue(state)
    at = process.state_since
    asked, _, _ = tell(process, Recheck(Verb.NOTIFY, "ann"), at)
    after, _, delivery = answer(asked, result, at)
    assert (after.state, after.status) == (process.state, process.status)
    assert after.next_check_at is not None
    assert decide(after, rules, after.next_check_at) == Call(Verb.FETCH)
    assert delivery is None


def test_after_a_persons_notify_the_rung_that_was_owed_follows_the_grace(
    tell: Tell, answer: Tell, overdue: TrackedProcess, rules: Rules
) -> None:
    at = overdue.state_since
    on_fetch, _, _ = answer(overdue, NotifyAccepted(0), at)
    asked, _, _ = tell(on_fetch, Recheck(Verb.NOTIFY, "ann"), at + MINUTE)
    after, _, _ = answer(asked, NotifyAccepted(0), at + MINUTE)
    assert (after.state, after.next_check_at) == (State.OVERDUE, at + 3 * MINUTE)
    assert decide(after, rules, at + 3 * MINUTE) == Call(Verb.FETCH)


def test_a_persons_notify_does_not_end_a_process_that_is_past_giving_up(
    tell: Tell, answer: Tell, overdue: TrackedProcess, rules: Rules
) -> None:
    at = overdue.state_since
    process, _, _ = answer(overdue, CallRefused(0, "http_400"), at)
    process, _, _ = answer(process, CallRefused(0, "http_400"), at)
    assert process.round == 1
    at = overdue.registered_at + 15 * DAY
    process, _, _ = answer(process, NotifyAccepted(0), at)
    asked, _, _ = tell(process, Recheck(Verb.NOTIFY, "ann"), at + SECOND)
    after, _, delivery = answer(asked, NotifyAccepted(0), at + SECOND)
    assert (after.state, delivery) == (State.OVERDUE, None)
    assert decide(after, rules, at + SECOND + 2 * MINUTE) == Call(Verb.FETCH)


def test_after_a_persons_fetch_that_failed_the_notify_that_was_owed_follows(
    tell: Tell, answer: Tell, overdue: TrackedProcess, rules: Rules
) -> None:
    at = overdue.state_since
    asked, _, _ = tell(overdue, Recheck(Verb.FETCH, "ann"), at)
    after, _, _ = answer(asked, CallRefused(0, "http_400"), at)
    assert after.next_check_at is not None
    assert decide(after, rules, after.next_check_at) == Call(Verb.NOTIFY)


@pytest.mark.parametrize(
    ("running", "asked_for", "result"),
    [
        (Verb.FETCH, Verb.NOTIFY, Fetched(0, "pending")),
        (Verb.FETCH, Verb.NOTIFY, CallRefused(0, "http_400")),
        (Verb.FETCH, Verb.NOTIFY, CallFailed(0, "timeout")),
        (Verb.NOTIFY, Verb.FETCH, NotifyAccepted(0)),
        (Verb.NOTIFY, Verb.FETCH, CallRefused(0, "http_409")),
    ],
)
def test_a_recheck_during_a_call_outlives_its_result(
    tell: Tell,
    overdue: TrackedProcess,
    rules: Rules,
    running: Verb,
    asked_for: Verb,
    result: Fetched | CallRefused | CallFailed | NotifyAccepted,
) -> None:
    at = overdue.state_since
    held = lease(overdue, running, "one", at, MINUTE)
    asked, _, _ = tell(held, Recheck(asked_for, "ann"), at + SECOND)
    assert (asked.lease, asked.attempt) == (held.lease, held.attempt)
    after, _, _ = tell(asked, replace(result, attempt=held.attempt), at + 2 * SECOND)
    assert after.lease is None
    after, _, _ = tell(after, TimePassed(), at + 2 * SECOND)
    assert decide(after, rules, at + 2 * SECOND) == Call(asked_for)


def test_a_recheck_of_a_settled_process_during_its_verification_outlives_it(
    tell: Tell, settled: TrackedProcess, rules: Rules
) -> None:
    at = settled.state_since
    owed, _, _ = tell(settled, Recheck(None, "ann"), at)
    held = lease(owed, Verb.FETCH, "one", at, MINUTE)
    asked, _, _ = tell(held, Recheck(Verb.NOTIFY, "ben"), at + SECOND)
    after, _, _ = tell(asked, Fetched(held.attempt, "accepted"), at + 2 * SECOND)
    assert decide(after, rules, at + 2 * SECOND) == Call(Verb.NOTIFY)


def test_a_waiting_process_somebody_asked_about_turns_overdue_all_the_same(
    tell: Tell, waiting: TrackedProcess
) -> None:
    # The breaker may be open: becoming overdue needs no call.
    asked, _, _ = tell(waiting, Recheck(Verb.FETCH, "ann"), waiting.registered_at + MINUTE)
    due = waiting.registered_at + 15 * MINUTE
    after, _, _ = tell(asked, TimePassed(), due)
    assert (after.state, after.state_since) == (State.OVERDUE, due)


def test_a_recheck_of_a_process_past_giving_up_may_still_settle_it(
    tell: Tell, answer: Tell, expired: TrackedProcess
) -> None:
    at = expired.state_since + HOUR
    asked, _, _ = tell(expired, Recheck(Verb.FETCH, "ann"), at)
    after, _, delivery = answer(asked, Fetched(0, "accepted"), at)
    assert (after.state, after.status, delivery) == (State.SETTLED, "accepted", "process.settled")


def test_a_recheck_during_downtime_checks_waits_out_a_failure(
    tell: Tell, answer: Tell, waiting: TrackedProcess
) -> None:
    at = waiting.registered_at + MINUTE
    missed = replace(waiting, catch_up=True)
    asked, _, _ = tell(missed, Recheck(Verb.NOTIFY, "ann"), at)
    after, _, _ = answer(asked, CallFailed(0, "timeout"), at)
    assert after.next_check_at == at + 30 * SECOND
    assert after.catch_up  # the Get process that it is owed is not this Notify


def test_a_provider_without_notify_in_its_ladder_can_still_be_asked(
    tell: Tell, overdue: TrackedProcess
) -> None:
    fetch_only = Rules(default=Policy(ladder=(Verb.FETCH,)))
    at = overdue.state_since
    assert decide(overdue, fetch_only, at) == Call(Verb.FETCH)
    asked, _, _ = tell(overdue, Recheck(Verb.NOTIFY, "ann"), at, fetch_only)
    assert decide(asked, fetch_only, at) == Call(Verb.NOTIFY)
