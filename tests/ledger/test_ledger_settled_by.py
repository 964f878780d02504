"""lifecycle.md: whether a callback came by itself or after a Notify."""

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
    Rules,
    SettledBy,
    TrackedProcess,
    Verb,
    lease,
)
from reconciler.ledger.policy import HOUR, MINUTE, SECOND

Tell = Callable[..., tuple[TrackedProcess, list[str], str | None]]
MakeCallback = Callable[..., Callback]


@pytest.mark.parametrize("later", [0, 2 * MINUTE])
@pytest.mark.parametrize("confirmed", [True, False])
def test_a_callback_within_the_grace_of_a_notify_is_brought_by_notify(
    tell: Tell,
    answer: Tell,
    callback: MakeCallback,
    rules: Rules,
    trusting: Rules,
    overdue: TrackedProcess,
    later: int,
    confirmed: bool,
) -> None:
    present = rules if confirmed else trusting
    asked, _, _ = answer(overdue, NotifyAccepted(0), overdue.state_since)
    at = overdue.state_since + later
    after, _, _ = tell(asked, callback("accepted", at), at, present)
    if confirmed:
        after, _, _ = answer(after, Fetched(0, "accepted"), at + SECOND)
    assert after.settled_by is SettledBy.NOTIFY


def test_a_callback_after_the_grace_of_a_notify_is_a_callback(
    tell: Tell, answer: Tell, callback: MakeCallback, trusting: Rules, overdue: TrackedProcess
) -> None:
    asked, _, _ = answer(overdue, NotifyAccepted(0), overdue.state_since)
    at = overdue.state_since + 2 * MINUTE + 1
    after, _, _ = tell(asked, callback("accepted", at), at, trusting)
    assert after.settled_by is SettledBy.CALLBACK


def test_a_callback_that_arrived_before_the_notify_is_a_callback(
    tell: Tell,
    answer: Tell,
    callback: MakeCallback,
    trusting: Rules,
    overdue: TrackedProcess,
) -> None:
    late = callback("accepted", overdue.state_since - SECOND)
    asked, _, _ = answer(overdue, NotifyAccepted(0), overdue.state_since)
    after, _, _ = tell(asked, late, overdue.state_since + SECOND, trusting)
    assert after.settled_by is SettledBy.CALLBACK


@pytest.mark.parametrize("result", [CallRefused(0, "http_404"), CallFailed(0, "http_503")])
def test_a_callback_after_a_notify_that_was_not_accepted_is_a_callback(
    tell: Tell,
    answer: Tell,
    callback: MakeCallback,
    trusting: Rules,
    overdue: TrackedProcess,
    result: CallRefused | CallFailed,
) -> None:
    at = overdue.state_since + SECOND
    tried, _, _ = answer(overdue, result, overdue.state_since)
    after, _, _ = tell(tried, callback("accepted", at), at, trusting)
    assert after.settled_by is SettledBy.CALLBACK


@pytest.mark.parametrize(
    ("result", "by"),
    [
        (NotifyAccepted(0), SettledBy.NOTIFY),
        (CallRefused(0, "http_404"), SettledBy.CALLBACK),
        (CallFailed(0, "http_503"), SettledBy.CALLBACK),
        (CallThrottled(0), SettledBy.CALLBACK),
    ],
)
def test_a_callback_during_a_notify_is_brought_by_it_only_if_it_was_accepted(
    tell: Tell,
    answer: Tell,
    callback: MakeCallback,
    overdue: TrackedProcess,
    result: NotifyAccepted | CallRefused | CallFailed | CallThrottled,
    by: SettledBy,
) -> None:
    at = overdue.state_since
    held = lease(overdue, Verb.NOTIFY, "one", at, MINUTE)
    claimed, _, _ = tell(held, callback("accepted", at + SECOND), at + SECOND)
    told, _, _ = tell(claimed, replace(result, attempt=held.attempt), at + 2 * SECOND)
    after, _, _ = answer(told, Fetched(0, "accepted"), at + 3 * SECOND)
    assert after.settled_by is by


def test_a_callback_long_after_a_notify_whose_instance_died_is_a_callback(
    tell: Tell, answer: Tell, callback: MakeCallback, overdue: TrackedProcess
) -> None:
    held = lease(overdue, Verb.NOTIFY, "dead", overdue.state_since, MINUTE)
    at = overdue.state_since + HOUR
    claimed, _, _ = tell(held, callback("accepted", at), at)
    after, _, _ = answer(claimed, Fetched(0, "accepted"), at)
    assert after.settled_by is SettledBy.CALLBACK
