"""After a clock was put back, no stored time holds a delivery or a dead daemon for longer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from reconciler.ledger import Fetched, Lane, Recheck, Registration, Rules, Verb
from reconciler.store.clock import TOLERANCE
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.instances import LIVE_FOR, Instance
from reconciler.store.open import Store
from reconciler.store.outbox import Attempt, Leased
from tests.clock import NOW, PlayedClock
from tests.store.conftest import LEASE, register

Look = Callable[..., list[tuple[Any, ...]]]

HOUR = 3_600_000
BACKOFF = 60_000


@pytest.fixture
def clock() -> PlayedClock:
    return PlayedClock()


@pytest.fixture
def rules() -> Rules:
    return Rules(deliver=True)


@pytest.fixture
async def settled(store: Store, rules: Rules, clock: PlayedClock) -> Store:
    """A store with the results of two processes to deliver."""
    await register(store, rules, [Registration(f"p{number}", "d") for number in range(2)])
    now = clock.now()
    await store.work.record([(f"p{n}", Recheck(Verb.FETCH, "ann")) for n in range(2)], rules, now)
    held = await store.work.claim((Lane.ASKED,), 9, owner="one", rules=rules, now=now, length=LEASE)
    await store.work.record(
        [(one.process_id, Fetched(one.attempt, "accepted")) for one in held], rules, now
    )
    return store


async def claim(store: Store, now: int, owner: str = "one") -> list[Leased]:
    return await store.outbox.claim(9, owner=owner, now=now, length=LEASE)


async def record(store: Store, now: int, *attempts: Attempt) -> None:
    await store.outbox.record(attempts, owner="one", now=now)


async def mend(store: Store, now: int, owner: str = "one") -> int:
    return await store.outbox.mend_clock(await store.outbox.ahead_of(now), owner=owner, now=now)


async def test_a_delivery_waits_no_longer_than_its_own_backoff(
    settled: Store, clock: PlayedClock
) -> None:
    rows = await claim(settled, clock.now())
    due = clock.now() + BACKOFF
    failed = [Attempt(row, DeliveryState.PENDING, "http_503", due) for row in rows]
    await record(settled, clock.now(), *failed)
    assert await settled.outbox.ahead_of(clock.now()) == []

    clock.wall -= HOUR
    assert await mend(settled, clock.now()) == 2

    assert not await settled.outbox.has_due(clock.now() + BACKOFF - 1)
    assert await settled.outbox.has_due(clock.now() + BACKOFF)
    assert await settled.outbox.ahead_of(clock.now()) == []


async def test_a_jump_between_an_attempt_and_its_recording_delays_the_next_no_longer(
    settled: Store, clock: PlayedClock
) -> None:
    """The store was away meanwhile."""
    rows = await claim(settled, clock.now())
    at = clock.now()
    failed = [
        Attempt(row, DeliveryState.PENDING, "http_503", at + BACKOFF, ended_at=at) for row in rows
    ]
    clock.wall -= HOUR
    await record(settled, clock.now(), *failed)
    assert not await settled.outbox.has_due(clock.now() + BACKOFF - 1)
    assert await settled.outbox.has_due(clock.now() + BACKOFF)


async def test_a_new_delivery_and_one_that_a_person_sends_again_are_due_at_once(
    settled: Store, clock: PlayedClock
) -> None:
    dead, unsent = await claim(settled, clock.now())
    await record(settled, clock.now(), Attempt(dead, DeliveryState.DEAD, "http_410"))
    await settled.redelivery.redeliver([dead.webhook_id], by="ann", now=clock.now())
    await settled.outbox.record([], [unsent], owner="one", now=clock.now())

    clock.wall -= HOUR
    assert await mend(settled, clock.now()) == 2
    assert len(await claim(settled, clock.now())) == 2


async def test_a_lease_of_a_dead_daemon_is_no_longer_than_a_lease(
    settled: Store, clock: PlayedClock
) -> None:
    await claim(settled, clock.now(), owner="dead")
    clock.wall -= HOUR
    await mend(settled, clock.now())
    assert not await settled.outbox.has_due(clock.now() + LEASE - 1)
    assert await settled.outbox.has_due(clock.now() + LEASE)


async def test_a_delivery_is_given_up_no_later_than_it_would_be_from_now(
    settled: Store, clock: PlayedClock
) -> None:
    clock.wall -= HOUR
    await mend(settled, clock.now())
    assert [row.pending_since for row in await claim(settled, clock.now())] == [clock.now()] * 2


async def test_a_jump_during_an_attempt_neither_loses_its_result_nor_delays_the_next(
    settled: Store, clock: PlayedClock, look: Look
) -> None:
    told, unsent = await claim(settled, clock.now())
    clock.wall -= HOUR
    await mend(settled, clock.now())
    await settled.outbox.record(
        [Attempt(told, DeliveryState.DELIVERED)], [unsent], owner="one", now=clock.now()
    )
    assert look("SELECT state FROM deliveries ORDER BY id") == [("delivered",), ("pending",)]
    [again] = await claim(settled, clock.now())
    assert again.attempt == 1
    due = clock.now() + BACKOFF
    await record(settled, clock.now(), Attempt(again, DeliveryState.PENDING, "timeout", due))
    [(pending_since,)] = look("SELECT pending_since FROM deliveries WHERE state = 'pending'")
    assert pending_since == clock.now()


async def test_two_daemons_that_mend_at_once_shorten_nothing_twice(
    settled: Store, clock: PlayedClock
) -> None:
    rows = await claim(settled, clock.now())
    due = clock.now() + BACKOFF
    failed = [Attempt(row, DeliveryState.PENDING, "http_503", due) for row in rows]
    await record(settled, clock.now(), *failed)
    clock.wall -= HOUR
    ahead = await settled.outbox.ahead_of(clock.now())
    mended = [
        await settled.outbox.mend_clock(ahead, owner=owner, now=clock.now())
        for owner in ("one", "two")
    ]
    assert mended == [2, 0]
    assert not await settled.outbox.has_due(clock.now() + BACKOFF - 1)


async def test_a_dead_daemon_whose_row_lies_ahead_counts_as_alive_no_longer_than_others(
    store: Store, clock: PlayedClock
) -> None:
    dead = instance("dead", clock.now())
    await store.instances.beat(dead)
    clock.wall -= HOUR
    assert [one.instance_id for one in await store.instances.live(clock.now())] == []

    one = instance("one", clock.now())
    assert {each.instance_id for each in await store.instances.beat(one)} == {"one", "dead"}
    clock.wall += LIVE_FOR + 1
    later = replace(one, heartbeat_at=clock.now())
    assert await store.instances.beat(later) == [later]


async def test_a_daemon_whose_clock_is_a_little_ahead_keeps_its_heartbeat(
    store: Store, clock: PlayedClock, kind: str
) -> None:
    if kind == "sqlite":
        pytest.skip("one file has one daemon, and one clock")
    ahead = instance("two", clock.now() + TOLERANCE)
    await store.instances.beat(ahead)
    assert ahead in await store.instances.beat(instance("one", clock.now()))


def instance(name: str, at: int) -> Instance:
    return Instance(
        instance_id=name,
        host="host",
        pid=1,
        version="1.0",
        started_at=NOW,
        heartbeat_at=at,
        last_sweep_at=None,
        breaker="closed",
        spooled=0,
    )
