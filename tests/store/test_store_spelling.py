"""Ids that are UUIDs are the same in whatever letter case; other ids are exact."""

from collections.abc import Callable
from typing import Any

import pytest

from reconciler.ledger import Fetched, Lane, Recheck, Registration, Rules, State, Verb
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store
from tests.clock import NOW

LOWER = "0b6f8e0a-3c1d-4e5f-8a9b-0c1d2e3f4a5b"
UPPER = LOWER.upper()
MIXED = LOWER[:18].upper() + LOWER[18:]
DOSSIER = "d0551e40-0000-4000-8000-abcdefabcdef"

Look = Callable[..., list[tuple[Any, ...]]]
MakeReceipt = Callable[..., Receipt]


async def register(store: Store, rules: Rules, process_id: str, dossier_id: str = DOSSIER) -> Any:
    registration = Registration(process_id, dossier_id)
    return await store.registry.register([registration], rules, NOW, whole=True)


async def call_back(store: Store, rules: Rules, receipt: Receipt) -> None:
    await store.inbox.put_many([receipt])
    [again] = await store.inbox.unapplied(NOW, 10)
    assert again == receipt
    await store.inbox.apply([again], rules, NOW)


async def test_a_callback_in_another_case_is_about_the_registered_process(
    store: Store, rules: Rules, receipt: MakeReceipt, look: Look
) -> None:
    await register(store, rules, UPPER)
    await call_back(store, rules, receipt(LOWER, dossier_id=DOSSIER.upper()))
    [process], _ = await store.views.page(state=None, limit=10, cursor=None)
    assert (process.process_id, process.dossier_id) == (UPPER, DOSSIER)
    assert process.state is State.REPORTED
    assert look("SELECT outcome FROM callbacks") == [("applied",)]
    for spelling in (LOWER, UPPER, MIXED):
        assert await store.views.process(spelling) == process
        events = [entry.event for entry in await store.views.timeline(spelling)]
        assert events == ["process_registered", "callback_applied"]


async def test_the_registered_spelling_wins_over_that_of_an_earlier_callback(
    store: Store, rules: Rules, receipt: MakeReceipt
) -> None:
    await call_back(store, rules, receipt(UPPER, dossier_id=DOSSIER.upper()))
    adopted = await store.views.process(LOWER)
    assert adopted is not None
    assert (adopted.process_id, adopted.adopted) == (UPPER, True)
    done = await register(store, rules, MIXED)
    assert (done.created, done.known, done.conflicts) == (0, 1, ())
    process = await store.views.process(LOWER)
    assert process is not None
    assert (process.process_id, process.dossier_id) == (MIXED, DOSSIER)
    assert (process.state, process.adopted) == (State.REPORTED, False)
    await register(store, rules, LOWER, DOSSIER.upper())
    assert await store.views.process(LOWER) == process


async def test_one_batch_may_hold_one_process_in_two_spellings(store: Store, rules: Rules) -> None:
    batch = [Registration(UPPER, DOSSIER), Registration(LOWER, DOSSIER.upper())]
    done = await store.registry.register(batch, rules, NOW, whole=True)
    assert (done.created, done.known, done.conflicts) == (1, 1, ())
    other = await register(store, rules, LOWER, "another dossier")
    assert other.conflicts == (0,)


async def test_an_unmatched_callback_in_another_case_is_applied_after_the_registration(
    store: Store, rules: Rules, receipt: MakeReceipt
) -> None:
    ignoring = Rules(adopt_unknown=False)
    await call_back(store, ignoring, receipt(UPPER, dossier_id=DOSSIER.upper()))
    await register(store, ignoring, LOWER)
    process = await store.views.process(UPPER)
    assert process is not None
    assert (process.process_id, process.state) == (LOWER, State.REPORTED)


async def test_calls_results_rechecks_and_deliveries_bear_the_spelling(
    store: Store, receipt: MakeReceipt, look: Look
) -> None:
    rules = Rules(deliver=True)
    await register(store, rules, UPPER)
    await store.work.record([(LOWER, Recheck(Verb.FETCH, "ann"))], rules, NOW)
    claim: dict[str, Any] = {"owner": "one", "rules": rules, "now": NOW, "length": 1000}
    assert await store.work.claim((Lane.ASKED,), 1, skip=UPPER, **claim) == []
    [held] = await store.work.claim((Lane.ASKED,), 1, **claim)
    assert held.process_id == UPPER
    result = Fetched(held.attempt, "accepted")
    await store.work.record([(held.process_id, result)], rules, NOW)
    [row], _ = await store.outbox.page(state=None, limit=10, cursor=None)
    assert row.process_id == UPPER
    assert f'"processId":"{UPPER}"' in row.payload
    [leased] = await store.outbox.claim(1, owner="one", now=NOW, length=1000)
    assert leased.process_id == UPPER
    assert await store.redelivery.ended_since(NOW) == [LOWER]
    assert await store.redelivery.redeliver_results([UPPER], by="ann", now=NOW) == 1
    assert look("SELECT count(*) FROM deliveries") == [(1,)]


async def test_forget_removes_all_spellings(
    store: Store, rules: Rules, receipt: MakeReceipt, look: Look
) -> None:
    await register(store, rules, UPPER)
    await call_back(store, rules, receipt(MIXED, dossier_id=DOSSIER))
    assert await store.registry.forget(LOWER, "ann", NOW)
    for table in ("processes", "callbacks", "deliveries"):
        assert look(f"SELECT count(*) FROM {table}") == [(0,)]
    assert not await store.registry.forget(UPPER, "ann", NOW)


@pytest.mark.parametrize("ids", [("Order-7", "order-7"), (UPPER[:-1], LOWER[:-1])])
async def test_ids_that_are_no_uuids_are_compared_byte_by_byte(
    store: Store, rules: Rules, ids: tuple[str, str]
) -> None:
    for process_id in ids:
        assert (await register(store, rules, process_id)).created == 1
    for process_id in ids:
        process = await store.views.process(process_id)
        assert process is not None
        assert process.process_id == process_id
    assert (await register(store, rules, "p", "Case")).created == 1
    assert (await register(store, rules, "p", "case")).conflicts == (0,)
