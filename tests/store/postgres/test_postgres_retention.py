"""Housekeeping leaves rows alone that another daemon is about to use."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest

from reconciler.ledger import Registration, Rules
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.inbox import Receipt
from reconciler.store.maintenance.retention import RetentionPeriods, stages
from reconciler.store.open import Store
from reconciler.store.outbox import Attempt
from tests.clock import NOW
from tests.store.conftest import call_back, register

DAY = 86_400_000


@pytest.fixture
def kind() -> str:
    return "postgresql"


async def test_a_delivery_that_is_just_asked_for_again_is_not_removed(
    store: Store, rules: Rules, url: str, receipt: Callable[..., Receipt]
) -> None:
    believing = replace(
        rules, deliver=True, default=replace(rules.default, confirm_callbacks=False)
    )
    await register(store, believing, [Registration("p1", "d1")])
    await call_back(store, believing, receipt("p1"))
    leased = await store.outbox.claim(1, owner="one", now=NOW, length=1000)
    done = [Attempt(row, DeliveryState.DELIVERED) for row in leased]
    await store.outbox.record(done, owner="one", now=NOW)
    later = NOW + 100 * DAY
    (purge, *_) = stages(store.database, RetentionPeriods(settled=DAY, callbacks=DAY), later)
    found = await purge.find(50)
    assert found

    async def remove() -> None:
        async with store.database.write() as connection:
            await purge.remove(connection, found, 50)

    with psycopg.connect(url) as other:
        other.execute(
            "UPDATE deliveries SET state = 'pending', next_attempt_at = %s", (later,)
        )  # as `redeliver` does, and not committed yet
        removing = asyncio.create_task(remove())
        with psycopg.connect(url, autocommit=True) as third:
            waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            async with asyncio.timeout(60):
                while third.execute(waits).fetchone() == (0,):
                    await asyncio.sleep(0.01)
        other.commit()
    await removing

    (kept,), _ = await store.outbox.page(state=None, limit=10, cursor=None)
    assert kept.state is DeliveryState.PENDING
    assert await store.views.process("p1") is not None
