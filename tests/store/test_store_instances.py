"""Heartbeats show which daemons are alive on a store."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from reconciler.store.instances import LIVE_FOR, Instance
from reconciler.store.open import Store
from tests.clock import NOW

Look = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def instance() -> Instance:
    return Instance(
        instance_id="one",
        host="host",
        pid=1,
        version="1.0",
        started_at=NOW,
        heartbeat_at=NOW,
        last_sweep_at=None,
        breaker="closed",
        spooled=0,
    )


async def test_a_heartbeat_replaces_the_one_before(
    store: Store, instance: Instance, look: Look
) -> None:
    await store.instances.beat(instance)
    second = replace(
        instance, heartbeat_at=NOW + 1, last_sweep_at=NOW, breaker="open", spooled=3, pid=2
    )
    await store.instances.beat(second)
    assert await store.instances.live(NOW + 1) == [second]
    assert look("SELECT count(*) FROM instances") == [(1,)]


async def test_the_live_are_those_with_a_recent_heartbeat_the_newest_first(
    store: Store, instance: Instance
) -> None:
    older = replace(instance, instance_id="two", heartbeat_at=NOW + 10)
    await store.instances.beat(older)
    newer = replace(instance, instance_id="three", heartbeat_at=NOW + 20)
    await store.instances.beat(newer)
    assert await store.instances.live(NOW + 20) == [newer, older]
    assert await store.instances.live(NOW + 20 + LIVE_FOR) == [newer]
    assert await store.instances.live(NOW + 21 + LIVE_FOR) == []


@pytest.mark.parametrize("joins", [False, True])
async def test_a_heartbeat_shows_who_is_live_and_oneself_among_them(
    store: Store, instance: Instance, joins: bool
) -> None:
    one = replace(instance, requests_per_second=20.0)
    assert await store.instances.beat(one, joins=joins) == [one]
    two = replace(one, instance_id="two", heartbeat_at=NOW + LIVE_FOR)
    assert await store.instances.beat(two, joins=joins) == [two, one]
    later = replace(two, heartbeat_at=NOW + LIVE_FOR + 1)
    assert await store.instances.beat(later, joins=joins) == [later]


async def test_one_that_is_long_dead_is_taken_off_by_the_next_heartbeat(
    store: Store, instance: Instance, look: Look
) -> None:
    await store.instances.beat(instance)
    other = replace(instance, instance_id="two", heartbeat_at=NOW + 4 * LIVE_FOR)
    await store.instances.beat(other)
    assert look("SELECT count(*) FROM instances") == [(2,)]
    await store.instances.beat(replace(other, heartbeat_at=NOW + 4 * LIVE_FOR + 1))
    assert look("SELECT instance_id FROM instances") == [("two",)]


async def test_one_that_signs_off_is_gone_and_remembered_as_last_alive(
    store: Store, instance: Instance
) -> None:
    assert await store.instances.last_alive_at() is None
    await store.instances.beat(instance)
    await store.instances.beat(replace(instance, instance_id="two", heartbeat_at=NOW + 1))
    await store.instances.sign_off("two")
    await store.instances.sign_off("nobody")
    assert [found.instance_id for found in await store.instances.live(NOW)] == ["one"]
    assert await store.instances.last_alive_at() == NOW + 1
