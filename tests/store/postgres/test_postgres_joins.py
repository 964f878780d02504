"""Of daemons that join at the same moment at most one sees itself alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from reconciler.store.instances import Instance
from reconciler.store.locks import wait_for_lock
from reconciler.store.open import Store, open_store
from tests.clock import NOW
from tests.store.conftest import PATIENCE

ONE = Instance(
    instance_id="one",
    host="host",
    pid=1,
    version="1.0",
    started_at=NOW,
    heartbeat_at=NOW,
    last_sweep_at=None,
    breaker="closed",
    spooled=0,
    requests_per_second=20.0,
)
TWO = replace(ONE, instance_id="two")
WAITING = (
    "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@pytest.fixture
def kind() -> str:
    """SQLite has one daemon."""
    return "postgresql"


@pytest.fixture
async def other(url: str) -> AsyncIterator[Store]:
    """The same store, opened by a second daemon."""
    opened = await open_store(url, is_daemon=True)
    yield opened
    await opened.database.close()


async def test_of_two_that_join_at_once_one_sees_the_other(store: Store, other: Store) -> None:
    for _ in range(20):
        seen = await asyncio.gather(
            store.instances.beat(ONE, joins=True), other.instances.beat(TWO, joins=True)
        )
        assert sorted(len(live) for live in seen) == [1, 2]
        await store.instances.sign_off("one")
        await store.instances.sign_off("two")


async def test_a_join_waits_for_the_one_before_it_and_a_renewal_does_not(
    store: Store, other: Store, look: Callable[..., list[tuple[Any, ...]]]
) -> None:
    async with store.database.write() as connection:
        await wait_for_lock(connection, "join")
        assert await other.instances.beat(ONE) == [ONE]
        joining = asyncio.create_task(other.instances.beat(TWO, joins=True))
        async with asyncio.timeout(PATIENCE):
            while look(WAITING) != [(1,)]:
                await asyncio.sleep(0.01)
        assert not joining.done()
    assert {each.instance_id for each in await joining} == {"one", "two"}
