"""Deliveries of a process are in order, leased by one at a time, and recorded once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from reconciler.ledger import Fetched, Lane, Policy, Registration, Rules, Verb
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.open import Store, open_store
from reconciler.store.outbox import Attempt, Leased
from tests.clock import NOW
from tests.store.conftest import LEASE, register

Look = Callable[..., list[tuple[Any, ...]]]
ROWS = "SELECT process_id, state, attempts, next_attempt_at, last_error FROM deliveries ORDER BY id"


@pytest.fixture
def rules() -> Rules:
    return Rules(default=Policy(ladder=(Verb.FETCH,)), deliver=True)


@pytest.fixture
async def settled(store: Store, rules: Rules) -> Store:
    """A store with p0, p1 and p2 settled and their results in the outbox."""
    await register(store, rules, [Registration(f"p{number}", "d") for number in range(3)])
    late = NOW + rules.default.callback_timeout
    await store.work.turn_overdue(rules, late, 10)
    held = await store.work.claim(
        (Lane.OVERDUE,), 9, owner="one", rules=rules, now=late, length=LEASE
    )
    results: Any = sorted(
        (one.process_id, Fetched(one.attempt, "accepted", has_final_result=True)) for one in held
    )
    await store.work.record(results, rules, late)
    return store


@pytest.fixture
def now(rules: Rules) -> int:
    return NOW + rules.default.callback_timeout


@pytest.fixture
async def other(url: str, kind: str) -> AsyncIterator[Store]:
    """The same store on connections of its own."""
    opened = await open_store(url, is_daemon=kind != "sqlite")
    yield opened
    await opened.database.close()


async def claim(store: Store, now: int, most: int = 9, owner: str = "one") -> list[Leased]:
    return await store.outbox.claim(most, owner=owner, now=now, length=LEASE)


async def record(
    store: Store, now: int, *attempts: Attempt, unspent: tuple[Leased, ...] = (), owner: str = "one"
) -> None:
    await store.outbox.record(attempts, unspent, owner=owner, now=now)


def ids(rows: list[Leased]) -> list[str]:
    return [row.process_id for row in rows]


async def test_due_deliveries_are_leased_in_order_and_to_one_only(
    settled: Store, other: Store, now: int
) -> None:
    assert not await settled.outbox.has_due(now - 1)
    assert await settled.outbox.has_due(now)
    assert ids(await claim(settled, now, 2)) == ["p0", "p1"]
    assert ids(await claim(other, now, owner="two")) == ["p2"]
    assert not await settled.outbox.has_due(now + LEASE - 1)
    assert [row.attempt for row in await claim(other, now + LEASE, owner="two")] == [2, 2, 2]


async def test_many_who_claim_at_once_get_each_delivery_once(
    settled: Store, other: Store, now: int
) -> None:
    parts = await asyncio.gather(*(claim(one, now, 1) for one in (settled, other) * 3))
    found = [row.process_id for part in parts for row in part]
    assert sorted(found) == sorted(set(found))


async def test_the_results_of_attempts_are_recorded(settled: Store, now: int, look: Look) -> None:
    told, failed, dead = await claim(settled, now)
    await record(
        settled,
        now + 1,
        Attempt(told, DeliveryState.DELIVERED),
        Attempt(failed, DeliveryState.PENDING, "http_503", now + 500),
        Attempt(dead, DeliveryState.DEAD, "http_410"),
    )
    assert look(ROWS) == [
        ("p0", "delivered", 1, None, None),
        ("p1", "pending", 1, now + 500, "http_503"),
        ("p2", "dead", 1, None, "http_410"),
    ]
    counts = await settled.views.counts()
    assert (counts.deliveries_pending, counts.deliveries_dead) == (1, 1)
    assert look("SELECT process_id FROM timeline WHERE event = 'delivery_dead'") == [("p2",)]
    assert "delivery_succeeded" in [e.event for e in await settled.views.timeline("p0")]


async def test_others_are_leased_in_the_transaction_that_records_results(
    settled: Store, other: Store, now: int, look: Look
) -> None:
    [first] = await claim(settled, now, 1)
    leased = await settled.outbox.record(
        [Attempt(first, DeliveryState.DELIVERED)], owner="one", now=now, most=1, length=LEASE
    )
    assert ids(leased) == ["p1"]
    assert ids(await claim(other, now, owner="two")) == ["p2"]
    assert look(ROWS)[0] == ("p0", "delivered", 1, None, None)


async def test_each_time_that_a_result_was_delivered_stays_in_the_timeline(
    settled: Store, now: int
) -> None:
    for later in (0, 10):
        [row, *rest] = await claim(settled, now + later)
        done = [Attempt(one, DeliveryState.DELIVERED) for one in (row, *rest)]
        await record(settled, now + later + 1, *done)
        await settled.redelivery.redeliver([row.webhook_id], by="me", now=now + later + 2)
    told = [(e.event, e.at) for e in await settled.views.timeline("p0") if e.at > now]
    assert told == [
        ("delivery_succeeded", now + 1),
        ("operator_action", now + 2),
        ("delivery_succeeded", now + 11),
        ("operator_action", now + 12),
    ]


async def test_no_two_batches_of_an_owner_end_in_the_same_millisecond(
    settled: Store, now: int
) -> None:
    ends = [row.until for _ in range(3) for row in await claim(settled, now, 1)]
    assert ends == [now + LEASE, now + LEASE + 1, now + LEASE + 2]


async def test_a_clock_that_was_put_back_is_followed(settled: Store, now: int) -> None:
    far = 24 * 3_600_000
    await claim(settled, now + far, 1)
    [row] = await claim(settled, now, 1)
    assert row.until == now + LEASE


async def test_a_result_of_a_lease_that_ran_out_in_the_same_hands_changes_nothing(
    settled: Store, now: int, look: Look
) -> None:
    before, *_ = await claim(settled, now)
    again, *_ = await claim(settled, now + LEASE)
    assert (before.id, before.attempt) == (again.id, again.attempt - 1)
    await record(settled, now + LEASE, Attempt(before, DeliveryState.DELIVERED))
    assert look(ROWS)[0][1] == "pending"


async def test_a_delivery_that_was_not_attempted_is_due_as_before(
    settled: Store, now: int, look: Look
) -> None:
    rows = await claim(settled, now)
    before = look(ROWS.replace("attempts", "attempts - 1"))
    await record(settled, now, unspent=tuple(rows))
    assert look(ROWS) == before
    assert len(await claim(settled, now)) == 3


async def test_a_result_whose_lease_somebody_else_has_taken_changes_nothing(
    settled: Store, now: int, look: Look
) -> None:
    first = await claim(settled, now, 1)
    [second] = await claim(settled, now + LEASE, 1, owner="two")
    assert second.id == first[0].id
    before = look(ROWS)
    await record(settled, now + LEASE, Attempt(first[0], DeliveryState.DELIVERED))
    await record(settled, now + LEASE, unspent=(first[0],))
    assert look(ROWS) == before


async def test_a_correction_waits_for_the_settling_before_it(
    settled: Store, now: int, look: Look
) -> None:
    look(
        "INSERT INTO deliveries (webhook_id, process_id, type, payload, created_at, state,"
        " pending_since, attempts, next_attempt_at)"
        " SELECT 'later', process_id, 'process.corrected', payload, created_at, state,"
        " pending_since, attempts, next_attempt_at FROM deliveries WHERE process_id = 'p0'"
    )
    first, *_ = rows = await claim(settled, now)
    assert ids(rows) == ["p0", "p1", "p2"]
    await record(settled, now, Attempt(first, DeliveryState.DELIVERED))
    [correction] = await claim(settled, now)
    assert correction.webhook_id == "later"


async def test_the_dead_are_sent_again_under_their_old_ids(
    settled: Store, now: int, look: Look
) -> None:
    rows = await claim(settled, now)
    await record(settled, now, *(Attempt(row, DeliveryState.DEAD, "http_410") for row in rows))
    assert await settled.redelivery.dead(2) == [row.webhook_id for row in rows[:2]]
    wanted = [rows[0].webhook_id, "unknown", "no\0id"]
    assert await settled.redelivery.redeliver(wanted, by="me", now=now + 9) == wanted[:1]
    assert look(ROWS)[0] == ("p0", "pending", 0, now + 9, "http_410")
    [again] = await claim(settled, now + 9)
    assert (again.webhook_id, again.attempt) == (rows[0].webhook_id, 1)


async def test_results_are_delivered_again_or_for_the_first_time(
    settled: Store, now: int, look: Look
) -> None:
    look("DELETE FROM deliveries WHERE process_id = 'p1'")
    ended = await settled.redelivery.ended_since(now)
    assert ended == ["p0", "p1", "p2"]
    assert await settled.redelivery.ended_since(now + 1) == []
    assert await settled.redelivery.redeliver_results([*ended, "p9"], by="me", now=now + 9) == 3
    assert sorted(ids(await claim(settled, now + 9))) == ended


async def test_pages_go_from_the_newest_to_the_oldest(settled: Store, now: int) -> None:
    [first] = await claim(settled, now, 1)
    await record(settled, now, Attempt(first, DeliveryState.DEAD, "gone"))
    rows, cursor = await settled.outbox.page(state=None, limit=2, cursor=None)
    rest, end = await settled.outbox.page(state=None, limit=2, cursor=cursor)
    assert [row.process_id for row in (*rows, *rest)] == ["p2", "p1", "p0"]
    assert end is None
    dead, _ = await settled.outbox.page(state=DeliveryState.DEAD, limit=2, cursor=None)
    assert [(row.process_id, row.state) for row in dead] == [("p0", DeliveryState.DEAD)]


async def test_without_a_receiver_nothing_is_written(
    store: Store, rules: Rules, look: Look, now: int
) -> None:
    silent = replace(rules, deliver=False)
    await register(store, silent, [Registration("p1", "d")])
    await store.work.turn_overdue(silent, now, 10)
    held = await store.work.claim(
        (Lane.OVERDUE,), 9, owner="one", rules=silent, now=now, length=LEASE
    )
    await store.work.record([("p1", Fetched(held[0].attempt, "accepted"))], silent, now)
    assert look("SELECT count(*) FROM deliveries") == [(0,)]
