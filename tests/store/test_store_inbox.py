"""Callbacks are stored first, and applied to the ledger in a second, repeatable step."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from reconciler.ledger import Registration, Rules, State
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store
from tests.clock import NOW

Look = Callable[..., list[tuple[Any, ...]]]
MakeReceipt = Callable[..., Receipt]

OUTCOMES = "SELECT outcome FROM callbacks ORDER BY received_at, receipt_id"
EVENTS = "SELECT event FROM timeline ORDER BY id"


@pytest.fixture
def ignoring(rules: Rules) -> Rules:
    """Callbacks of unregistered processes are only kept."""
    return replace(rules, adopt_unknown=False)


async def register(store: Store, rules: Rules, process_id: str, dossier_id: str) -> None:
    registration = Registration(process_id, dossier_id)
    done = await store.registry.register([registration], rules, NOW, whole=True)
    assert not done.conflicts


async def test_a_receipt_is_committed_with_every_field_when_put_many_returns(
    store: Store, look: Look
) -> None:
    receipt = Receipt("r1", NOW, "p1", "d1", "accepted", ("extra", "näme"), b"\xff" * 32)
    await store.inbox.put_many([receipt])
    assert look("SELECT * FROM callbacks") == [
        ("r1", NOW, "p1", "d1", "accepted", '["extra","näme"]', b"\xff" * 32, None, None)
    ]
    assert await store.inbox.unapplied(NOW, 10) == [receipt]


async def test_the_same_receipt_put_again_changes_nothing(
    store: Store, look: Look, receipt: MakeReceipt, rules: Rules
) -> None:
    first = receipt()
    await store.inbox.put_many([first, first])
    await store.inbox.apply([first], rules, NOW)
    await store.inbox.put_many([replace(first, status="rejected"), receipt("p2")])
    assert look("SELECT process_id, status, outcome FROM callbacks ORDER BY receipt_id") == [
        ("p1", "accepted", "applied"),
        ("p2", "accepted", None),
    ]


async def test_no_receipts_are_no_trouble(store: Store, rules: Rules) -> None:
    await store.inbox.put_many([])
    assert await store.inbox.apply([], rules, NOW) == []


async def test_receipts_are_applied_in_the_order_of_their_arrival(
    store: Store, receipt: MakeReceipt, rules: Rules, look: Look
) -> None:
    late = receipt(status="rejected", at=NOW + 2)
    early = receipt(status="accepted", at=NOW + 1)
    await store.inbox.put_many([late, early])
    changes = await store.inbox.apply([late, early], rules, NOW + 3)
    observed = [observation for (_, observation), _ in changes]
    assert observed == [early.observation(), late.observation()]
    process = await store.views.process("p1")
    assert process is not None
    assert (process.state, process.claimed_status) == (State.REPORTED, "rejected")
    assert look(OUTCOMES) == [("applied",), ("applied",)]


async def test_an_applied_receipt_is_not_applied_again(
    store: Store, receipt: MakeReceipt, rules: Rules, look: Look
) -> None:
    one, two = receipt(), receipt(at=NOW + 1)
    await store.inbox.put_many([one, two])
    await store.inbox.apply([one, two], rules, NOW)
    before = look("SELECT * FROM processes"), look(EVENTS)
    assert await store.inbox.apply([one, two], rules, NOW + 5) == []
    assert (look("SELECT * FROM processes"), look(EVENTS)) == before


async def test_receipts_applied_by_two_at_once_are_applied_once(
    store: Store, receipt: MakeReceipt, rules: Rules, look: Look
) -> None:
    receipts = [receipt(f"p{number}") for number in range(20)]
    await store.inbox.put_many(receipts)
    done = await asyncio.gather(*(store.inbox.apply(receipts, rules, NOW) for _ in range(3)))
    assert sum(map(len, done)) == 20
    assert look("SELECT count(*) FROM timeline WHERE event = 'callback_applied'") == [(20,)]


async def test_what_was_never_stored_is_not_applied(
    store: Store, receipt: MakeReceipt, rules: Rules, look: Look
) -> None:
    assert await store.inbox.apply([receipt()], rules, NOW) == []
    assert look("SELECT * FROM processes") == []


async def test_what_was_not_applied_is_found_again_the_oldest_first(
    store: Store, receipt: MakeReceipt, rules: Rules
) -> None:
    receipts = [receipt(f"p{number}", at=NOW + number // 2) for number in range(6)]
    await store.inbox.put_many(receipts[::-1])
    await store.inbox.apply(receipts[:1], rules, NOW)
    assert await store.inbox.unapplied(NOW + 9, 10) == receipts[1:]
    assert await store.inbox.unapplied(NOW + 1, 10) == receipts[1:4]
    assert await store.inbox.unapplied(NOW + 9, 2) == receipts[1:3]
    assert await store.inbox.unapplied(NOW + 9, 2, after=receipts[2]) == receipts[3:5]


async def test_a_callback_of_an_unregistered_process_waits_for_its_registration(
    store: Store, receipt: MakeReceipt, ignoring: Rules, look: Look
) -> None:
    await store.inbox.put_many([callback := receipt()])
    [(_, outcome)] = await store.inbox.apply([callback], ignoring, NOW)
    assert outcome.process is None
    assert look(OUTCOMES) == [("unmatched",)]
    assert await store.inbox.unapplied(NOW, 10) == []

    await register(store, ignoring, "p1", "d1")
    process = await store.views.process("p1")
    assert process is not None
    assert (process.state, process.claimed_status) == (State.REPORTED, "accepted")
    assert look(OUTCOMES) == [("applied",)]


async def test_a_callback_that_names_another_dossier_is_kept_and_never_applied(
    store: Store, receipt: MakeReceipt, rules: Rules, look: Look
) -> None:
    await register(store, rules, "p1", "d1")
    before = look("SELECT * FROM processes")
    await store.inbox.put_many([callback := receipt(dossier_id="d2")])
    await store.inbox.apply([callback], rules, NOW)
    assert look(OUTCOMES) == [("mismatch",)]
    await register(store, rules, "p1", "d1")
    assert look("SELECT * FROM processes") == before
    assert look(OUTCOMES) == [("mismatch",)]


async def test_a_registration_replaces_the_dossier_of_an_adopted_row_and_applies_what_was_held_back(
    store: Store, receipt: MakeReceipt, rules: Rules, look: Look
) -> None:
    hearsay = receipt(status="rejected", dossier_id="d2")
    true = receipt(status="accepted", dossier_id="d1", at=NOW + 1)
    await store.inbox.put_many([hearsay, true])
    await store.inbox.apply([hearsay, true], rules, NOW + 2)
    assert look(OUTCOMES) == [("applied",), ("mismatch",)]

    await register(store, rules, "p1", "d1")
    process = await store.views.process("p1")
    assert process is not None
    assert (process.dossier_id, process.adopted) == ("d1", False)
    assert (process.state, process.claimed_status) == (State.REPORTED, "accepted")
    assert look(OUTCOMES) == [("applied",), ("applied",)]


async def test_a_registration_starts_an_adopted_row_of_another_dossier_again_as_waiting(
    store: Store, receipt: MakeReceipt, rules: Rules
) -> None:
    await store.inbox.put_many([hearsay := receipt(dossier_id="d2")])
    await store.inbox.apply([hearsay], rules, NOW)
    await register(store, rules, "p1", "d1")
    process = await store.views.process("p1")
    assert process is not None
    assert (process.dossier_id, process.state) == ("d1", State.WAITING)
    assert process.claimed_status is None


async def test_the_proof_that_the_store_takes_writes_is_a_commit(store: Store, look: Look) -> None:
    await store.inbox.prove()
    [(first,)] = look("SELECT value FROM facts WHERE name = 'proof'")
    await store.inbox.prove()
    [(second,)] = look("SELECT value FROM facts WHERE name = 'proof'")
    assert first != second


async def test_a_callback_of_the_future_is_found_again_and_applied_as_of_now(
    store: Store, rules: Rules, receipt: MakeReceipt
) -> None:
    """The clock was put back by a day, or that of the daemon that took it was ahead."""
    await register(store, rules, "p1", "d1")
    ahead = receipt("p1", at=NOW + 86_400_000)
    await store.inbox.put_many([ahead])
    assert await store.inbox.unapplied(NOW, 10) == [ahead]
    await store.inbox.apply([ahead], rules, NOW)
    process = await store.views.process("p1")
    assert process is not None
    assert (process.state, process.callback_at) == (State.REPORTED, NOW)
    assert await store.inbox.unapplied(NOW, 10) == []
