"""Registering is idempotent and atomic; forgetting leaves no trace."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from reconciler.ledger import Fetched, Lane, Registration, Rules, State
from reconciler.store.actions import Action
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store
from reconciler.store.schema import metadata
from tests.clock import NOW

Look = Callable[..., list[tuple[Any, ...]]]
MakeReceipt = Callable[..., Receipt]

LEDGER = "SELECT process_id, dossier_id, state FROM processes ORDER BY process_id"


async def test_a_batch_is_registered_in_one_transaction_with_one_entry_each(
    store: Store, rules: Rules, look: Look
) -> None:
    batch = [Registration("p1", "d1", by="api"), Registration("p2", "d2", by="api")]
    done = await store.registry.register(batch, rules, NOW, whole=True)
    assert (done.created, done.known, done.conflicts) == (2, 0, ())
    assert [observed for observed, _ in done.changes] == [("p1", batch[0]), ("p2", batch[1])]
    assert look(LEDGER) == [("p1", "d1", "waiting"), ("p2", "d2", "waiting")]
    assert look("SELECT process_id, at, event, fields FROM timeline ORDER BY id") == [
        ("p1", NOW, "process_registered", '{"by":"api"}'),
        ("p2", NOW, "process_registered", '{"by":"api"}'),
    ]


async def test_registering_again_changes_nothing(
    store: Store, rules: Rules, look: Look, registrations: Callable[[int], list[Registration]]
) -> None:
    await store.registry.register(registrations(3), rules, NOW, whole=True)
    before = look("SELECT * FROM processes"), look("SELECT * FROM timeline")
    done = await store.registry.register(registrations(4), rules, NOW, whole=True)
    assert (done.created, done.known) == (1, 3)
    look("DELETE FROM processes WHERE process_id = 'p3'")
    look("DELETE FROM timeline WHERE process_id = 'p3'")
    assert (look("SELECT * FROM processes"), look("SELECT * FROM timeline")) == before


async def test_the_same_registration_twice_in_a_batch_counts_once(
    store: Store, rules: Rules, look: Look
) -> None:
    batch = [Registration("p1", "d1"), Registration("p1", "d1", provider="onfido")]
    done = await store.registry.register(batch, rules, NOW, whole=True)
    assert (done.created, done.known) == (1, 1)
    assert look("SELECT process_id, provider FROM processes") == [("p1", "onfido")]


async def test_with_a_conflict_a_whole_batch_is_not_registered(
    store: Store, rules: Rules, look: Look
) -> None:
    await store.registry.register([Registration("p1", "d1")], rules, NOW, whole=True)
    before = look("SELECT * FROM processes"), look("SELECT * FROM timeline")
    batch = [Registration("p0", "d0"), Registration("p1", "other"), Registration("p2", "d2")]
    done = await store.registry.register(batch, rules, NOW, whole=True)
    assert (done.created, done.known, done.conflicts, done.changes) == (0, 0, (1,), ())
    assert (look("SELECT * FROM processes"), look("SELECT * FROM timeline")) == before


async def test_with_a_conflict_the_others_of_a_loose_batch_are_registered(
    store: Store, rules: Rules, look: Look
) -> None:
    await store.registry.register([Registration("p1", "d1")], rules, NOW, whole=True)
    batch = [Registration("p0", "d0"), Registration("p1", "other"), Registration("p2", "d2")]
    done = await store.registry.register(batch, rules, NOW, whole=False)
    assert (done.created, done.known, done.conflicts) == (2, 0, (1,))
    assert [(row[0], row[1]) for row in look(LEDGER)] == [("p0", "d0"), ("p1", "d1"), ("p2", "d2")]


@pytest.mark.parametrize(("whole", "stored"), [(True, []), (False, [("p1", "d1", "waiting")])])
async def test_two_dossiers_for_one_new_process_conflict_within_a_batch(
    store: Store, rules: Rules, look: Look, *, whole: bool, stored: list[tuple[str, ...]]
) -> None:
    batch = [Registration("p1", "d1"), Registration("p1", "d2"), Registration("p1", "d1")]
    done = await store.registry.register(batch, rules, NOW, whole=whole)
    assert done.conflicts == (1,)
    assert look(LEDGER) == stored


async def test_two_dossiers_for_an_adopted_process_conflict_within_a_batch(
    store: Store, rules: Rules, look: Look, receipt: MakeReceipt
) -> None:
    await store.inbox.put_many([callback := receipt(dossier_id="d0")])
    await store.inbox.apply([callback], rules, NOW)
    batch = [Registration("p1", "d1"), Registration("p1", "d2")]
    assert (await store.registry.register(batch, rules, NOW, whole=True)).conflicts == (1,)
    assert look(LEDGER) == [("p1", "d0", "reported")]


async def test_the_same_process_registered_by_many_at_once_is_created_once(
    store: Store, rules: Rules, look: Look, registrations: Callable[[int], list[Registration]]
) -> None:
    done = await asyncio.gather(
        *(store.registry.register(registrations(10), rules, NOW, whole=True) for _ in range(5))
    )
    assert sorted(result.created for result in done) == [0, 0, 0, 0, 10]
    assert look("SELECT count(*) FROM timeline") == [(10,)]


async def test_forgetting_leaves_one_entry_that_does_not_name_the_process(
    store: Store, rules: Rules, look: Look, receipt: MakeReceipt
) -> None:
    secret = "forget-me-7c1e"
    batch = [Registration(secret, "dossier-9a2b", reference="ref-3d"), Registration("p2", "d2")]
    await store.registry.register(batch, rules, NOW, whole=True)
    callback = receipt(secret, dossier_id="dossier-9a2b")
    await store.inbox.put_many([callback])
    await store.inbox.apply([callback], rules, NOW)
    [held] = await store.work.claim(
        (Lane.CONFIRM,), 9, owner="one", rules=rules, now=NOW, length=1000
    )
    done = await store.work.record([(secret, Fetched(held.attempt, "accepted"))], rules, NOW + 1)
    assert done[0][1].process is not None
    assert done[0][1].process.state is State.SETTLED

    assert await store.registry.forget(secret, "operator", NOW + 2) is True

    everything = "\n".join(str(look(f"SELECT * FROM {table}")) for table in metadata.tables)
    for trace in (secret, "dossier-9a2b", "ref-3d"):
        assert trace not in everything
    assert look("SELECT action, actor, at, process_id FROM actions") == [
        ("forget", "operator", NOW + 2, None)
    ]
    assert look(LEDGER) == [("p2", "d2", "waiting")]


async def test_forgetting_what_nobody_knows_leaves_nothing(store: Store, look: Look) -> None:
    assert await store.registry.forget("p1", "operator", NOW) is False
    assert look("SELECT * FROM timeline") == []


async def test_callbacks_that_never_found_their_process_are_forgotten_too(
    store: Store, look: Look, receipt: MakeReceipt
) -> None:
    await store.inbox.put_many([receipt("p1")])
    assert await store.registry.forget("p1", "operator", NOW) is True
    assert look("SELECT * FROM callbacks") == []


async def test_no_id_at_all_forgets_nothing_that_concerns_no_process(
    store: Store, look: Look
) -> None:
    await store.actions.write([Action(NOW, "operator", "backup")], is_logged=False)
    before = look("SELECT * FROM actions")
    assert await store.registry.forget("", "operator", NOW) is False
    assert look("SELECT * FROM actions") == before


async def test_the_result_of_a_call_about_a_forgotten_process_does_not_bring_it_back(
    store: Store, rules: Rules, look: Look, receipt: MakeReceipt
) -> None:
    await store.inbox.put_many([callback := receipt()])
    await store.inbox.apply([callback], rules, NOW)
    [held] = await store.work.claim(
        (Lane.CONFIRM,), 9, owner="one", rules=rules, now=NOW, length=1000
    )
    await store.registry.forget("p1", "operator", NOW)
    [(_, outcome)] = await store.work.record(
        [("p1", Fetched(held.attempt, "accepted"))], rules, NOW
    )
    assert outcome.process is None
    assert look("SELECT * FROM processes") == []
    assert look("SELECT * FROM timeline WHERE process_id = 'p1'") == []
