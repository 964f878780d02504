"""lifecycle.md, "Coming onto the ledger", and whose settings count."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from reconciler.ledger import (
    CallFailed,
    Fetched,
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
    is_other_dossier,
)
from reconciler.ledger.policy import DAY, HOUR, MINUTE, SECOND
from tests.clock import NOW

Tell = Callable[..., tuple[TrackedProcess, list[str], str | None]]


def test_a_registered_process_waits_until_its_timeout_is_over(tell: Tell) -> None:
    process, events, delivery = tell(None, Registration("process", "dossier"), NOW)
    assert process.state is State.WAITING
    assert process.next_check_at == NOW + 15 * MINUTE
    assert not process.adopted
    assert events == ["process_registered"]
    assert delivery is None


def test_the_timeout_counts_from_the_creation_of_the_process(tell: Tell) -> None:
    registration = Registration("process", "dossier", created_at=NOW - 10 * MINUTE)
    process, _, _ = tell(None, registration, NOW)
    assert process.next_check_at == NOW + 5 * MINUTE
    assert process.created_at == NOW - 10 * MINUTE
    assert process.registered_at == NOW


def test_a_process_whose_timeout_is_past_is_due_at_once(tell: Tell, rules: Rules) -> None:
    process, _, _ = tell(None, Registration("process", "dossier", created_at=NOW - HOUR), NOW)
    assert process.state is State.WAITING
    assert decide(process, rules, NOW) == TurnOverdue()


def test_a_creation_in_the_future_is_taken_as_now(tell: Tell) -> None:
    process, _, _ = tell(None, Registration("process", "dossier", created_at=NOW + DAY), NOW)
    assert process.created_at == NOW
    assert process.next_check_at == NOW + 15 * MINUTE


def test_a_creation_in_the_future_is_taken_as_now_when_registered_again(
    tell: Tell, waiting: TrackedProcess
) -> None:
    again = Registration("process", "dossier", created_at=NOW + DAY)
    after, _, _ = tell(waiting, again, NOW + MINUTE)
    assert after.created_at == NOW + MINUTE
    assert after.next_check_at == NOW + 16 * MINUTE


@pytest.mark.parametrize("provider", ["readid", "ReadID"])
def test_the_timeout_is_that_of_the_provider(tell: Tell, provider: str) -> None:
    process, _, _ = tell(None, Registration("process", "dossier", provider=provider), NOW)
    assert process.next_check_at == NOW + 5 * MINUTE


def test_registering_again_never_changes_a_state(tell: Tell, any_process: TrackedProcess) -> None:
    again = Registration("process", "dossier", "onfido", "document", "ref", created_at=NOW - HOUR)
    after, _, delivery = tell(any_process, again, any_process.state_since + SECOND)
    kept = replace(
        after,
        provider=None,
        process_type=None,
        reference=None,
        created_at=None,
        timeout_from=any_process.timeout_from,
        next_check_at=any_process.next_check_at,
        scheduled_at=any_process.scheduled_at,
    )
    assert kept == any_process
    assert (after.next_check_at is None) == (any_process.next_check_at is None)
    assert delivery is None


def test_the_same_registration_twice_changes_nothing_more(
    tell: Tell, any_process: TrackedProcess
) -> None:
    again = Registration("process", "dossier", "onfido", "document", "ref", created_at=NOW - HOUR)
    once, _, _ = tell(any_process, again, any_process.state_since + SECOND)
    assert tell(once, again, any_process.state_since + MINUTE) == (once, [], None)


def test_registering_again_fills_empty_fields(tell: Tell, waiting: TrackedProcess) -> None:
    again = Registration("process", "dossier", "onfido", "document", "ref", NOW - 10 * MINUTE)
    after, events, _ = tell(waiting, again, NOW + MINUTE)
    labels = (after.provider, after.process_type, after.reference)
    assert labels == ("onfido", "document", "ref")
    assert after.created_at == NOW - 10 * MINUTE
    assert after.next_check_at == NOW + 5 * MINUTE
    assert events == []


def test_registering_again_moves_no_due_time_that_was_decided_after_a_call(
    tell: Tell, answer: Tell, waiting: TrackedProcess, overdue: TrackedProcess
) -> None:
    at = overdue.state_since
    asked, _, _ = tell(waiting, Recheck(Verb.FETCH, "ann"), NOW)
    failed, _, _ = answer(asked, CallFailed(0, "timeout"), NOW)
    pending, _, _ = answer(overdue, Fetched(0, "pending"), at, Verb.FETCH)
    missing, _, _ = answer(overdue, ProcessNotFound(0, path_proven=True), at, Verb.FETCH)
    for process in (failed, pending, missing):
        again = Registration("process", "dossier")
        assert tell(process, again, process.scheduled_at + SECOND) == (process, [], None)


def test_registering_again_without_a_field_keeps_it(tell: Tell) -> None:
    full = Registration("process", "dossier", "onfido", "document", "ref", NOW - MINUTE)
    process, _, _ = tell(None, full, NOW)
    assert tell(process, Registration("process", "dossier"), NOW + 1) == (process, [], None)


@pytest.mark.parametrize("name", ["provider", "process_type", "reference"])
def test_a_differing_label_replaces_the_old_with_a_timeline_entry(tell: Tell, name: str) -> None:
    first = Registration("process", "dossier", "onfido", "document", "ref")
    process, _, _ = tell(None, first, NOW)
    new: Any = {name: "new"}
    after, events, _ = tell(process, replace(first, **new), NOW + 1)
    assert getattr(after, name) == "new"
    assert len(events) == 1


def test_a_registered_creation_date_is_not_replaced(tell: Tell) -> None:
    process, _, _ = tell(None, Registration("process", "dossier", created_at=NOW - MINUTE), NOW)
    later = Registration("process", "dossier", created_at=NOW - HOUR)
    assert tell(process, later, NOW + 1) == (process, [], None)


def test_a_registration_with_another_dossier_is_a_contradiction(
    tell: Tell, any_process: TrackedProcess
) -> None:
    other = Registration("process", "another dossier", "onfido")
    assert is_other_dossier(any_process, other)
    after, _, delivery = tell(any_process, other, any_process.state_since + SECOND)
    assert (after, delivery) == (any_process, None)


def test_the_provider_of_a_second_registration_decides_the_due_time(
    tell: Tell, waiting: TrackedProcess
) -> None:
    after, _, _ = tell(waiting, Registration("process", "dossier", "readid"), NOW + SECOND)
    assert after.next_check_at == NOW + 5 * MINUTE


def test_a_provider_that_get_process_names_decides_the_due_time(
    answer: Tell, overdue: TrackedProcess
) -> None:
    at = overdue.state_since
    after, _, _ = answer(overdue, Fetched(0, "pending", provider="ReadID"), at, Verb.FETCH)
    assert after.provider == "ReadID"
    assert after.next_check_at == at + MINUTE


def test_a_fetched_creation_date_fills_an_empty_field_and_moves_nothing(
    answer: Tell, waiting: TrackedProcess
) -> None:
    fetched = Fetched(0, "pending", created_at=NOW - 10 * MINUTE)
    after, _, _ = answer(replace(waiting, catch_up=True), fetched, NOW + SECOND)
    assert after.created_at == NOW - 10 * MINUTE
    assert after.next_check_at == waiting.next_check_at


def test_a_fetched_creation_date_never_replaces_a_registered_one(tell: Tell, answer: Tell) -> None:
    process, _, _ = tell(None, Registration("process", "dossier", created_at=NOW - MINUTE), NOW)
    late, _, _ = tell(process, TimePassed(), NOW + HOUR)
    after, _, _ = answer(late, Fetched(0, "pending", created_at=NOW - DAY), NOW + HOUR, Verb.FETCH)
    assert after.created_at == NOW - MINUTE
