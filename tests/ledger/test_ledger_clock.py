"""lifecycle.md: a clock that jumps back makes nothing wait longer than its backoff again."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.ledger import (
    Call,
    Callback,
    ClockJumpedBack,
    Fetched,
    NotifyAccepted,
    ProcessNotFound,
    Recheck,
    Registration,
    Rules,
    State,
    TimePassed,
    TrackedProcess,
    TurnOverdue,
    Verb,
    decide,
    lease,
)
from reconciler.ledger.policy import DAY, HOUR, MINUTE, SECOND

Tell = Callable[..., tuple[TrackedProcess, list[str], str | None]]
MakeCallback = Callable[..., Callback]

YEAR = 365 * DAY


def test_a_waiting_process_waits_its_timeout_again_and_no_longer(
    tell: Tell, waiting: TrackedProcess, rules: Rules
) -> None:
    now = waiting.registered_at - YEAR
    after, _, delivery = tell(waiting, ClockJumpedBack(), now)
    assert (after.state, after.next_check_at) == (State.WAITING, now + 15 * MINUTE)
    assert decide(after, rules, now + 15 * MINUTE) == TurnOverdue()
    assert delivery is None


def test_a_backoff_begins_again_and_is_no_longer(
    tell: Tell, answer: Tell, overdue: TrackedProcess
) -> None:
    process, _, _ = answer(overdue, Fetched(0, "pending"), overdue.state_since, Verb.FETCH)
    now = overdue.state_since - YEAR
    after, _, _ = tell(process, ClockJumpedBack(), now)
    assert after.next_check_at == now + 5 * MINUTE


def test_a_jump_that_is_seen_twice_changes_nothing_more(
    tell: Tell, any_process: TrackedProcess
) -> None:
    now = any_process.state_since - YEAR
    once, _, _ = tell(any_process, ClockJumpedBack(), now)
    assert tell(once, ClockJumpedBack(), now) == (once, [], None)


def test_without_a_jump_nothing_changes(tell: Tell, any_process: TrackedProcess) -> None:
    now = any_process.state_since + HOUR
    assert tell(any_process, ClockJumpedBack(), now) == (any_process, [], None)


def test_a_jump_leaves_a_terminal_process_without_a_due_time(
    tell: Tell, terminal: TrackedProcess
) -> None:
    after, _, _ = tell(terminal, ClockJumpedBack(), terminal.state_since - YEAR)
    assert (after.state, after.next_check_at) == (terminal.state, None)


def test_a_running_lease_is_no_longer_after_a_jump(
    tell: Tell, reported: TrackedProcess, rules: Rules
) -> None:
    held = lease(reported, Verb.FETCH, "one", reported.state_since, MINUTE)
    now = reported.state_since - YEAR
    after, _, _ = tell(held, ClockJumpedBack(), now)
    assert after.attempt == held.attempt
    assert decide(after, rules, now + MINUTE) == Call(Verb.FETCH)


def test_a_lease_taken_long_after_its_due_time_was_decided_is_no_longer_after_a_jump(
    tell: Tell, overdue: TrackedProcess, rules: Rules
) -> None:
    # Decided at registration; leased a day later; then the clock falls back by half a day.
    held = lease(overdue, Verb.NOTIFY, "dead", overdue.state_since + DAY, MINUTE)
    now = overdue.state_since + DAY // 2
    after, _, _ = tell(held, ClockJumpedBack(), now)
    assert decide(after, rules, now + MINUTE) == Call(Verb.NOTIFY)


def test_a_result_counts_although_the_clock_jumped_during_its_call(
    tell: Tell, reported: TrackedProcess
) -> None:
    held = lease(reported, Verb.FETCH, "one", reported.state_since, MINUTE)
    now = reported.state_since - YEAR
    jumped, _, _ = tell(held, ClockJumpedBack(), now)
    after, _, _ = tell(jumped, Fetched(held.attempt, "accepted"), now + SECOND)
    assert (after.state, after.status) == (State.SETTLED, "accepted")


def test_a_pending_process_waits_no_longer_than_its_backoff_after_a_jump(
    tell: Tell, answer: Tell, waiting: TrackedProcess
) -> None:
    now = waiting.registered_at - YEAR
    jumped, _, _ = tell(waiting, ClockJumpedBack(), now)
    late, _, _ = tell(jumped, TimePassed(), now + 15 * MINUTE)
    after, _, _ = answer(late, Fetched(0, "pending"), now + 15 * MINUTE, Verb.FETCH)
    assert after.next_check_at == now + 20 * MINUTE


def test_a_recheck_after_a_jump_does_not_wait_for_the_old_clock(
    tell: Tell, answer: Tell, waiting: TrackedProcess
) -> None:
    now = waiting.registered_at - YEAR
    jumped, _, _ = tell(waiting, ClockJumpedBack(), now)
    asked, _, _ = tell(jumped, Recheck(Verb.FETCH, "ann"), now)
    after, _, _ = answer(asked, Fetched(0, "pending"), now)
    assert after.next_check_at == now + 15 * MINUTE


def test_registering_again_after_a_jump_does_not_bring_the_old_clock_back(
    tell: Tell, waiting: TrackedProcess
) -> None:
    now = waiting.registered_at - YEAR
    jumped, _, _ = tell(waiting, ClockJumpedBack(), now)
    again, _, _ = tell(jumped, Registration("process", "dossier"), now)
    assert again.next_check_at == now + 15 * MINUTE


def test_a_claim_from_before_a_jump_is_asked_for_at_the_usual_pace(
    tell: Tell, answer: Tell, reported: TrackedProcess
) -> None:
    now = reported.state_since - HOUR
    jumped, _, _ = tell(reported, ClockJumpedBack(), now)
    after, _, _ = answer(jumped, Fetched(0, "pending"), now)
    assert after.next_check_at == now + 5 * SECOND


def test_a_claim_from_before_a_jump_can_be_refuted(
    tell: Tell, answer: Tell, reported: TrackedProcess
) -> None:
    now = reported.state_since - HOUR
    jumped, _, _ = tell(reported, ClockJumpedBack(), now)
    after, _, _ = answer(jumped, Fetched(0, "rejected"), now + MINUTE)
    assert (after.state, after.status) == (State.SETTLED, "rejected")


def test_a_claim_made_after_a_jump_is_newer_than_one_made_before(
    tell: Tell, callback: MakeCallback, reported: TrackedProcess
) -> None:
    now = reported.state_since - HOUR
    jumped, _, _ = tell(reported, ClockJumpedBack(), now)
    after, _, _ = tell(jumped, callback("rejected", now + SECOND), now + SECOND)
    assert after.claimed_status == "rejected"


def test_the_second_404_counts_although_the_first_came_before_a_jump(
    tell: Tell, answer: Tell, overdue: TrackedProcess
) -> None:
    not_found = ProcessNotFound(0, path_proven=True)
    once, _, _ = answer(overdue, not_found, overdue.state_since, Verb.FETCH)
    now = overdue.state_since - YEAR
    jumped, _, _ = tell(once, ClockJumpedBack(), now)
    after, _, _ = answer(jumped, not_found, now + 5 * MINUTE)
    assert after.state is State.GONE


def test_a_grace_begins_again_and_is_no_longer(
    tell: Tell, answer: Tell, overdue: TrackedProcess, rules: Rules
) -> None:
    asked, _, _ = answer(overdue, NotifyAccepted(0), overdue.state_since)
    now = overdue.state_since - YEAR
    after, _, _ = tell(asked, ClockJumpedBack(), now)
    assert after.next_check_at == now + 2 * MINUTE
    assert decide(after, rules, now + 2 * MINUTE) == Call(Verb.FETCH)


@pytest.mark.parametrize("jump", [SECOND, HOUR, YEAR])
def test_an_owed_verification_stays_due_after_a_jump(
    tell: Tell, settled: TrackedProcess, rules: Rules, jump: int
) -> None:
    owed, _, _ = tell(settled, Recheck(None, "ann"), settled.state_since)
    after, _, _ = tell(owed, ClockJumpedBack(), settled.state_since - jump)
    assert decide(after, rules, settled.state_since - jump) == Call(Verb.FETCH)


def test_a_process_is_due_again_at_most_its_old_wait_later(
    tell: Tell, waiting: TrackedProcess
) -> None:
    moved = replace(waiting, catch_up=True)
    for jump in (SECOND, HOUR, YEAR):
        now = waiting.registered_at - jump
        moved, _, _ = tell(moved, ClockJumpedBack(), now)
        assert moved.next_check_at == now + 15 * MINUTE
    assert moved.catch_up


def test_a_call_that_a_callback_has_overtaken_stays_before_it_after_a_jump(
    tell: Tell, callback: MakeCallback, overdue: TrackedProcess
) -> None:
    begun = overdue.state_since
    held = lease(overdue, Verb.FETCH, "one", begun, MINUTE)
    claimed, _, _ = tell(held, callback("accepted", begun + SECOND), begun + SECOND)
    now = begun - HOUR
    jumped, _, _ = tell(claimed, ClockJumpedBack(), now)
    after, _, _ = tell(jumped, Fetched(held.attempt, "rejected"), now + SECOND)
    assert after.state is State.REPORTED


def test_how_long_a_process_has_been_overdue_counts_from_a_jump_at_the_latest(
    tell: Tell, overdue: TrackedProcess
) -> None:
    now = overdue.state_since - HOUR
    after, _, _ = tell(overdue, ClockJumpedBack(), now)
    assert after.state_since == now


def test_a_look_at_an_unknown_status_comes_a_day_later_although_it_settled_before_a_jump(
    tell: Tell, answer: Tell, reported: TrackedProcess
) -> None:
    at = reported.state_since
    process = replace(reported, claimed_status="odd")
    for _ in range(3):
        process, _, _ = answer(process, Fetched(0, "odd"), at)
        at += HOUR
    assert process.state is State.SETTLED
    now = at - 365 * DAY
    jumped, _, _ = tell(process, ClockJumpedBack(), now)
    after, _, _ = answer(jumped, Fetched(0, "odd"), now + DAY)
    assert after.next_check_at == now + 2 * DAY
