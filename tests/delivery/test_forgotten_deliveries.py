"""A process is forgotten while its result is on the way."""

from typing import Any

from aiohttp import web

from reconciler.store.delivery_row import DeliveryState
from reconciler.store.outbox import Attempt


async def test_a_result_that_is_refused_after_its_process_was_forgotten_leaves_no_trace(
    bench: Any, receiver: Any
) -> None:
    await bench.settle("p1")

    async def forget_and_refuse(_request: web.Request) -> web.Response:
        assert await bench.store.registry.forget("p1", "ada", bench.clock.wall)
        return web.Response(status=410)

    receiver.answer = forget_and_refuse
    async with bench.delivering():
        await receiver.has(1)
        await bench.until(lambda rows: not rows)

    assert await bench.store.views.timeline("p1") == []


async def test_the_answer_to_a_forgotten_delivery_is_not_taken_for_that_of_another(
    bench: Any,
) -> None:
    outbox = bench.store.outbox
    await bench.settle("p1")
    [first] = await outbox.claim(1, owner="me", now=bench.clock.wall, length=60_000)
    await bench.store.registry.forget("p1", "ada", bench.clock.wall)
    await bench.settle("p2")
    [second] = await outbox.claim(1, owner="me", now=bench.clock.wall, length=60_000)
    assert second.id == first.id, "SQLite gives a number again that has become free at the end"

    await outbox.record([Attempt(first, DeliveryState.DELIVERED)], owner="me", now=bench.clock.wall)
    await outbox.record([], [first], owner="me", now=bench.clock.wall)
    failed = Attempt(first, DeliveryState.DEAD, "http_410")
    await outbox.record([failed], owner="me", now=bench.clock.wall)
    [row] = await bench.rows()
    assert (row.process_id, row.state, row.attempts) == ("p2", "pending", 1)
    assert [entry.event for entry in await bench.store.views.timeline("p1")] == []

    await outbox.record(
        [Attempt(second, DeliveryState.DELIVERED)], owner="me", now=bench.clock.wall
    )
    [row] = await bench.rows()
    assert row.state == "delivered"
