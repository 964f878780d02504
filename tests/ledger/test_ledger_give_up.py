"""lifecycle.md: when a process expires, and when not yet."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.ledger import (
    Callback,
    CallFailed,
    CallRefused,
    CallThrottled,
    Fetched,
    NotifyAccepted,
    ProcessNotFound,
    Registration,
    Rules,
    State,
    TimePassed,
    TrackedProcess,
    Verb,
)
from reconciler.ledger.policy import DAY, HOUR, MINUTE, SECOND

Tell = Callable[..., tuple[TrackedProcess, list[str], str | None]]
MakeCallback = Callable[..., Callback]

NOT_FOUND = ProcessNotFound(0, path_proven=True)
FAILED = CallFailed(0, "timeout")


@pytest.fixture
def old(tell: Tell, answer: Tell, overdue: TrackedProcess) -> TrackedProcess:
    """Overdue again, just past ``give_up_after``, after a round that brought nothing."""
    at = overdue.state_since
    process, _, _ = answer(overdue, CallRefused(0, "http_409"), at)
    process, _, _ = answer(process, CallRefused(0, "http_400"), at)
    return replace(process, next_check_at=overdue.registered_at + 14 * DAY)


@pytest.mark.parametrize("result", [Fetched(0, "pending"), NOT_FOUND, CallRefused(0, "http_400")])
def test_a_check_that_brings_nothing_final_past_give_up_expires(
    answer: Tell, old: TrackedProcess, result: Fetched | ProcessNotFound | CallRefused
) -> None:
    at = old.registered_at + 14 * DAY
    on_fetch, _, _ = answer(old, NotifyAccepted(0), at)
    after, events, delivery = answer(on_fetch, result, on_fetch.next_check_at)
    assert (after.state, after.status, after.next_check_at) == (State.EXPIRED, None, None)
    assert after.state_since == on_fetch.next_check_at
    assert "process_expired" in events
    assert delivery == "process.expired"


def test_an_accepted_notify_past_give_up_still_has_its_grace(
    answer: Tell, old: TrackedProcess
) -> None:
    at = old.registered_at + 14 * DAY
    after, _, delivery = answer(old, NotifyAccepted(0), at)
    assert (after.state, after.next_check_at) == (State.OVERDUE, at + 2 * MINUTE)
    assert delivery is None


def test_a_final_status_past_give_up_settles(answer: Tell, old: TrackedProcess) -> None:
    at = old.registered_at + 20 * DAY
    after, _, delivery = answer(old, Fetched(0, "accepted"), at, Verb.FETCH)
    assert (after.state, delivery) == (State.SETTLED, "process.settled")


def test_a_failed_call_past_give_up_has_its_retries(answer: Tell, old: TrackedProcess) -> None:
    at = old.registered_at + 14 * DAY
    process, _, _ = answer(old, NotifyAccepted(0), at)
    at += 2 * MINUTE
    for wait in (30, 60, 120):
        process, _, _ = answer(process, FAILED, at)
        assert (process.state, process.next_check_at) == (State.OVERDUE, at + wait * SECOND)
        at += wait * SECOND
    process, _, delivery = answer(process, FAILED, at)
    assert (process.state, delivery) == (State.EXPIRED, "process.expired")


def test_a_throttled_call_never_expires(answer: Tell, old: TrackedProcess) -> None:
    at = old.registered_at + 30 * DAY
    after, _, delivery = answer(old, CallThrottled(0), at)
    assert (after.state, delivery) == (State.OVERDUE, None)


def test_a_check_one_millisecond_before_give_up_goes_on(
    answer: Tell, overdue: TrackedProcess
) -> None:
    at = overdue.registered_at + 14 * DAY - 1
    after, _, _ = answer(overdue, Fetched(0, "pending"), at, Verb.FETCH)
    assert (after.state, after.next_check_at) == (State.WAITING, at + 5 * MINUTE)


def test_time_alone_never_gives_up(tell: Tell, waiting: TrackedProcess) -> None:
    after, _, delivery = tell(waiting, TimePassed(), waiting.registered_at + 30 * DAY)
    assert (after.state, delivery) == (State.OVERDUE, None)


def test_a_process_is_not_given_up_before_one_full_round(
    answer: Tell, overdue: TrackedProcess
) -> None:
    at = overdue.registered_at + 30 * DAY
    for _ in range(4):  # the Notify rung fails to its end: the round is not over yet
        overdue, _, delivery = answer(overdue, FAILED, at)
        at += MINUTE * 5
        assert (overdue.state, delivery) == (State.OVERDUE, None)
    for _ in range(3):
        overdue, _, delivery = answer(overdue, FAILED, at)
        at += MINUTE * 5
        assert (overdue.state, delivery) == (State.OVERDUE, None)
    after, _, delivery = answer(overdue, FAILED, at)
    assert (after.state, delivery) == (State.EXPIRED, "process.expired")


def test_a_notify_refused_in_the_first_round_leads_to_get_process_past_give_up(
    answer: Tell, overdue: TrackedProcess
) -> None:
    at = overdue.registered_at + 30 * DAY
    refused, _, _ = answer(overdue, CallRefused(0, "http_404"), at)
    assert refused.state is State.OVERDUE
    after, _, _ = answer(refused, Fetched(0, "accepted"), at)
    assert after.state is State.SETTLED


def test_an_old_claim_that_is_never_confirmed_expires_and_is_kept(
    tell: Tell, answer: Tell, callback: MakeCallback, waiting: TrackedProcess
) -> None:
    at = waiting.registered_at + 14 * DAY
    claimed, _, _ = tell(waiting, callback("accepted", at), at)
    after, _, delivery = answer(claimed, Fetched(0, "pending"), at + SECOND)
    assert (after.state, after.claimed_status, after.status) == (State.EXPIRED, "accepted", None)
    assert delivery == "process.expired"


def test_giving_up_counts_from_registration_not_from_creation(tell: Tell, answer: Tell) -> None:
    registration = Registration("process", "dossier", created_at=0)
    process, _, _ = tell(None, registration, 20 * DAY)
    late, _, _ = tell(process, TimePassed(), 20 * DAY)
    after, _, _ = answer(late, Fetched(0, "pending"), 20 * DAY + HOUR, Verb.FETCH)
    assert after.state is State.WAITING


def test_giving_up_is_the_providers_setting_as_soon_as_it_is_known(
    answer: Tell, overdue: TrackedProcess, rules: Rules
) -> None:
    hasty = replace(rules, providers={"readid": replace(rules.default, give_up_after=HOUR)})
    at = overdue.registered_at + 2 * HOUR
    fetched = Fetched(0, "pending", provider="readid")
    after, _, delivery = answer(overdue, fetched, at, Verb.FETCH, hasty)
    assert (after.state, delivery) == (State.EXPIRED, "process.expired")


def test_a_ladder_of_notify_only_ends_too(
    answer: Tell, overdue: TrackedProcess, rules: Rules
) -> None:
    notify_only = replace(rules, default=replace(rules.default, ladder=(Verb.NOTIFY,)))
    at = overdue.registered_at + 14 * DAY
    once, _, delivery = answer(overdue, NotifyAccepted(0), at, rules=notify_only)
    assert (once.state, once.next_check_at, delivery) == (State.OVERDUE, at + 5 * MINUTE, None)
    after, _, delivery = answer(once, NotifyAccepted(0), once.next_check_at, rules=notify_only)
    assert (after.state, delivery) == (State.EXPIRED, "process.expired")


def test_a_round_of_notify_only_lasts_its_grace_when_that_is_longer(
    answer: Tell, overdue: TrackedProcess, rules: Rules
) -> None:
    slow = replace(rules.default, ladder=(Verb.NOTIFY,), notify_grace=HOUR)
    at = overdue.state_since
    after, _, _ = answer(overdue, NotifyAccepted(0), at, rules=replace(rules, default=slow))
    assert after.next_check_at == at + HOUR
