"""lifecycle.md, the rows of the table whose observation is a callback."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.ledger import (
    Call,
    Callback,
    Rules,
    SettledBy,
    State,
    TrackedProcess,
    Verb,
    decide,
)
from reconciler.ledger.policy import HOUR, MINUTE, SECOND

Tell = Callable[..., tuple[TrackedProcess, list[str], str | None]]
MakeCallback = Callable[..., Callback]


@pytest.mark.parametrize("state", ["waiting", "overdue"])
def test_a_final_callback_is_a_claim_that_is_checked_at_once(
    tell: Tell, callback: MakeCallback, rules: Rules, request: pytest.FixtureRequest, state: str
) -> None:
    process = request.getfixturevalue(state)
    at = process.state_since + MINUTE
    after, _, delivery = tell(process, callback("rejected", at), at)
    assert (after.state, after.claimed_status, after.status) == (State.REPORTED, "rejected", None)
    assert (after.state_since, after.callback_at, after.next_check_at) == (at, at, at)
    assert decide(after, rules, at) == Call(Verb.FETCH)
    assert delivery is None


@pytest.mark.parametrize("state", ["waiting", "overdue"])
def test_a_final_callback_settles_when_callbacks_are_not_confirmed(
    tell: Tell, callback: MakeCallback, trusting: Rules, request: pytest.FixtureRequest, state: str
) -> None:
    process = request.getfixturevalue(state)
    at = process.state_since + MINUTE
    after, events, delivery = tell(process, callback("rejected", at), at, trusting)
    assert (after.state, after.status) == (State.SETTLED, "rejected")
    assert (after.settled_by, after.settled_at) == (SettledBy.CALLBACK, at)
    assert (after.revision, after.next_check_at) == (0, None)
    assert "process_settled" in events
    assert delivery == "process.settled"


@pytest.mark.parametrize("status", ["pending", "processing"])
def test_a_pending_callback_leaves_an_open_process_as_it_is(
    tell: Tell, callback: MakeCallback, open_process: TrackedProcess, status: str
) -> None:
    pending = callback(status, open_process.state_since + SECOND)
    after, events, delivery = tell(open_process, pending, open_process.state_since + SECOND)
    assert after == replace(open_process, last_receipt=pending.receipt_id)
    assert len(events) == 1
    assert delivery is None


@pytest.mark.parametrize("status", ["accepted", "rejected", "pending", "weird"])
def test_a_callback_with_another_dossier_is_never_applied(
    tell: Tell, callback: MakeCallback, any_process: TrackedProcess, status: str
) -> None:
    at = any_process.state_since + SECOND
    told = tell(any_process, callback(status, at, "another dossier"), at)
    assert told == (any_process, ["callback_mismatch"], None)


def test_the_same_claim_again_leaves_a_reported_process_as_it_is(
    tell: Tell, callback: MakeCallback, reported: TrackedProcess
) -> None:
    again = callback("accepted", reported.state_since + SECOND)
    after, events, delivery = tell(reported, again, reported.state_since + SECOND)
    kept = replace(after, last_receipt=reported.last_receipt, duplicates=reported.duplicates)
    assert kept == reported
    assert "status_conflict" not in events
    assert delivery is None


def test_another_claim_replaces_that_of_a_reported_process(
    tell: Tell, callback: MakeCallback, reported: TrackedProcess
) -> None:
    at = reported.state_since + SECOND
    after, events, delivery = tell(reported, callback("rejected", at), at)
    assert (after.state, after.claimed_status, after.status) == (State.REPORTED, "rejected", None)
    assert (after.callback_at, after.state_since) == (at, reported.state_since)
    assert "status_conflict" in events
    assert delivery is None


def test_a_claim_that_arrived_earlier_does_not_replace_a_newer_one(
    tell: Tell, callback: MakeCallback, reported: TrackedProcess
) -> None:
    late = callback("rejected", reported.state_since - SECOND)
    after, events, _ = tell(reported, late, reported.state_since + SECOND)
    assert (after.claimed_status, after.callback_at) == ("accepted", reported.callback_at)
    assert "status_conflict" in events


@pytest.mark.parametrize("state", ["waiting", "overdue"])
def test_a_status_in_neither_list_counts_as_final_in_a_callback(
    tell: Tell, callback: MakeCallback, request: pytest.FixtureRequest, state: str
) -> None:
    process = request.getfixturevalue(state)
    at = process.state_since + SECOND
    after, events, _ = tell(process, callback("weird", at), at)
    assert (after.state, after.claimed_status) == (State.REPORTED, "weird")
    assert "status_unknown" in events


def test_a_callback_that_equals_the_settled_status_is_counted_as_a_duplicate(
    tell: Tell, callback: MakeCallback, settled: TrackedProcess
) -> None:
    again = callback("accepted", settled.state_since + HOUR)
    after, _, delivery = tell(settled, again, settled.state_since + HOUR)
    assert after == replace(settled, duplicates=1, last_receipt=again.receipt_id)
    assert delivery is None


@pytest.mark.parametrize("status", ["rejected", "weird"])
def test_a_final_callback_that_contradicts_a_terminal_state_is_verified(
    tell: Tell, callback: MakeCallback, rules: Rules, terminal: TrackedProcess, status: str
) -> None:
    at = terminal.state_since + HOUR
    after, events, delivery = tell(terminal, callback(status, at), at)
    assert (after.state, after.state_since) == (terminal.state, terminal.state_since)
    assert (after.status, after.revision) == (terminal.status, terminal.revision)
    assert after.next_check_at == at
    assert decide(after, rules, at) == Call(Verb.FETCH)
    assert ("status_conflict" in events) == (terminal.state is State.SETTLED)
    assert delivery is None


def test_a_late_callback_is_verified_but_its_claim_does_not_replace_a_newer_one(
    tell: Tell, callback: MakeCallback, settled: TrackedProcess, rules: Rules
) -> None:
    assert settled.callback_at is not None
    late, at = callback("rejected", settled.callback_at - SECOND), settled.state_since + SECOND
    after, _, _ = tell(settled, late, at)
    assert (after.claimed_status, after.callback_at) == ("accepted", settled.callback_at)
    assert decide(after, rules, at) == Call(Verb.FETCH)


def test_a_pending_callback_leaves_a_terminal_process_alone(
    tell: Tell, callback: MakeCallback, terminal: TrackedProcess
) -> None:
    pending = callback("pending", terminal.state_since + SECOND)
    after, _, delivery = tell(terminal, pending, terminal.state_since + SECOND)
    assert after == replace(terminal, last_receipt=pending.receipt_id)
    assert delivery is None


@pytest.mark.parametrize("status", ["accepted", "rejected", "pending", "weird"])
def test_the_same_callback_applied_twice_changes_nothing_more(
    tell: Tell, callback: MakeCallback, any_process: TrackedProcess, status: str
) -> None:
    at = any_process.state_since + SECOND
    received = callback(status, at)
    once, _, _ = tell(any_process, received, at)
    assert tell(once, received, at + MINUTE) == (once, [], None)
