"""lifecycle.md, "Coming onto the ledger": callbacks of unregistered processes."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.ledger import (
    Callback,
    Fetched,
    ProcessNotFound,
    Registration,
    Rules,
    State,
    TrackedProcess,
    Verb,
    is_other_dossier,
    lease,
    transition,
)
from reconciler.ledger.policy import HOUR, MINUTE, SECOND
from tests.clock import NOW

Tell = Callable[..., tuple[TrackedProcess, list[str], str | None]]
MakeCallback = Callable[..., Callback]


def test_a_callback_for_an_unknown_process_is_adopted_as_reported(
    tell: Tell, callback: MakeCallback
) -> None:
    process, _, delivery = tell(None, callback("accepted", NOW), NOW)
    assert process.state is State.REPORTED
    assert process.adopted
    assert (process.dossier_id, process.claimed_status) == ("dossier", "accepted")
    assert process.status is None
    assert process.next_check_at == NOW
    assert delivery is None


def test_a_pending_callback_for_an_unknown_process_claims_nothing(
    tell: Tell, callback: MakeCallback
) -> None:
    process, _, _ = tell(None, callback("pending", NOW), NOW)
    assert process.adopted
    assert (process.state, process.claimed_status) == (State.WAITING, None)
    assert process.next_check_at == NOW + 15 * MINUTE


def test_a_callback_for_an_unknown_process_is_left_alone_when_none_is_adopted(
    rules: Rules, callback: MakeCallback
) -> None:
    outcome = transition(None, callback("accepted", NOW), replace(rules, adopt_unknown=False), NOW)
    assert outcome.process is None
    assert outcome.delivery is None
    assert [entry.event for entry in outcome.entries] == ["callback_unmatched"]


def test_a_callback_that_came_before_its_registration_is_applied_after_it(
    tell: Tell, callback: MakeCallback
) -> None:
    early = callback("accepted", NOW)
    process, _, _ = tell(None, Registration("process", "dossier"), NOW + HOUR)
    after, _, _ = tell(process, early, NOW + HOUR)
    assert (after.state, after.next_check_at) == (State.REPORTED, NOW + HOUR)


def test_registration_is_right_about_the_dossier_of_an_adopted_row(
    tell: Tell, callback: MakeCallback
) -> None:
    adopted, _, _ = tell(None, callback("accepted", NOW, "hearsay"), NOW)
    registration = Registration("process", "dossier")
    assert not is_other_dossier(adopted, registration)
    after, events, delivery = tell(adopted, registration, NOW + HOUR)
    assert after.dossier_id == "dossier"
    assert (after.state, after.claimed_status) == (State.WAITING, None)
    assert after.next_check_at == NOW + HOUR + 15 * MINUTE
    assert is_other_dossier(after, Registration("process", "hearsay"))
    assert len(events) == 1
    assert delivery is None


def test_a_call_about_the_dossier_that_was_replaced_is_dropped_with_a_timeline_entry(
    tell: Tell, callback: MakeCallback
) -> None:
    adopted, _, _ = tell(None, callback("accepted", NOW, "hearsay"), NOW)
    held = lease(adopted, Verb.FETCH, "one", NOW, MINUTE)
    again, _, _ = tell(held, Registration("process", "dossier"), NOW + SECOND)
    after, events, delivery = tell(again, Fetched(held.attempt, "accepted"), NOW + 2 * SECOND)
    assert (after, delivery) == (again, None)
    assert len(events) == 1


def test_registering_an_adopted_row_keeps_its_state(tell: Tell, callback: MakeCallback) -> None:
    adopted, _, _ = tell(None, callback("accepted", NOW), NOW)
    after, events, _ = tell(adopted, Registration("process", "dossier"), NOW + SECOND)
    assert after == replace(adopted, adopted=False)
    assert events == ["process_registered"]


@pytest.mark.parametrize(
    ("registered", "confirmed", "delivered"),
    [(False, False, None), (True, False, "process.gone"), (False, True, "process.gone")],
)
def test_an_adopted_row_that_nobody_confirmed_goes_without_a_delivery(
    tell: Tell,
    answer: Tell,
    callback: MakeCallback,
    registered: bool,
    confirmed: bool,
    delivered: str | None,
) -> None:
    process, _, _ = tell(None, callback("accepted", NOW), NOW)
    if registered:
        process, _, _ = tell(process, Registration("process", "dossier"), NOW)
    if confirmed:
        process, _, _ = answer(process, Fetched(0, "pending"), NOW)
    not_found = ProcessNotFound(0, path_proven=True)
    once, _, _ = answer(process, not_found, process.next_check_at)
    after, events, delivery = answer(once, not_found, once.next_check_at)
    assert after.state is State.GONE
    assert "process_gone" in events
    assert delivery == delivered


def test_an_adopted_row_is_confirmed_by_an_answer_that_a_callback_overtook(
    tell: Tell, answer: Tell, callback: MakeCallback
) -> None:
    process, _, _ = tell(None, callback("accepted", NOW), NOW)
    held = lease(process, Verb.FETCH, "one", NOW, MINUTE)
    claimed, _, _ = tell(held, callback("rejected", NOW + SECOND), NOW + SECOND)
    process, _, _ = tell(claimed, Fetched(held.attempt, "pending"), NOW + 2 * SECOND)
    not_found = ProcessNotFound(0, path_proven=True)
    once, _, _ = answer(process, not_found, NOW + MINUTE)
    after, _, delivery = answer(once, not_found, once.next_check_at)
    assert (after.state, delivery) == (State.GONE, "process.gone")
