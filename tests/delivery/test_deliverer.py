"""One client follows the other, and nothing is lost or sent by two."""

import asyncio
import gc
from typing import Any

import pytest
from aiohttp import web

from reconciler.delivery.client import DeliveryClient
from reconciler.runtime.current_value import Current
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.outbox import Leased, Outbox
from tests.delivery.conftest import running


def delivered(rows: list[Any]) -> int:
    return sum(row.state == DeliveryState.DELIVERED for row in rows)


async def closed(connection: asyncio.Transport) -> None:
    async with asyncio.timeout(30):
        while not connection.is_closing():
            await asyncio.sleep(0.01)


async def test_what_has_begun_ends_with_the_old_client_and_only_the_newest_takes_over(
    bench: Any,
) -> None:
    hold = asyncio.Event()
    connections: dict[str, asyncio.Transport] = {}

    async def answer(request: web.Request) -> web.Response:
        connections[request.headers["X-Client"]] = request.transport  # type: ignore[assignment]
        await hold.wait()
        return web.Response()

    bench.receiver.answer = answer
    bench.slots = 1
    clients = []
    for name in ("one", "two", "three"):
        bench.headers = {"X-Client": name}
        clients.append(bench.client())
    one, two, three = clients
    await bench.settle("p-1", "p-2", "p-3")
    current = Current[DeliveryClient | None](one)
    async with running(bench.deliverer(current)):
        await bench.receiver.has(1)
        for current.value in (two, three):
            bench.news.ring()
        hold.set()
        await bench.until(lambda rows: delivered(rows) == 3)
        await closed(connections["one"])
    await closed(connections["three"])
    assert list(connections) == ["one", "three"]
    assert [headers["X-Client"] for headers, _ in bench.receiver.got] == ["one", "three", "three"]


async def test_deliveries_can_be_switched_on_and_off_again(bench: Any) -> None:
    await bench.settle("p-1")
    current = Current[DeliveryClient | None](None)
    async with running(bench.deliverer(current)):
        bench.news.ring()
        current.value = bench.client()
        bench.news.ring()
        await bench.until(lambda rows: delivered(rows) == 1)
        current.value = None
        bench.news.ring()
        await bench.settle("p-2")
        bench.news.ring()
        current.value = bench.client()
        bench.news.ring()
        await bench.until(lambda rows: delivered(rows) == 2)
    assert [body["data"]["processId"] for _, body in bench.receiver.got] == ["p-1", "p-2"]


async def test_while_deliveries_are_off_nothing_is_sent(bench: Any) -> None:
    current = Current[DeliveryClient | None](bench.client())
    deliverer = bench.deliverer(current)
    async with running(deliverer):
        await bench.settle("p-1")
        await bench.until(lambda rows: delivered(rows) == 1, ring=True)
        current.value = None
        bench.news.ring()
        await bench.settle("p-2")
        for _ in range(20):
            bench.news.ring()
            await bench.rows()
    assert bench.receiver.types("p-2") == []


async def test_a_client_that_comes_during_the_stop_sends_nothing(bench: Any) -> None:
    current = Current[DeliveryClient | None](None)
    deliverer = bench.deliverer(current)
    async with running(deliverer):
        deliverer.stop()
        current.value = bench.client()
        await bench.settle("p-1")
        bench.news.ring()
    assert bench.receiver.got == []


async def test_a_deliverer_that_has_failed_can_be_run_again(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.settle("p-1")
    deliverer = bench.deliverer(Current(bench.client()))
    with monkeypatch.context() as patch:
        patch.setattr(bench.store.outbox, "has_due", None)  # a bug of ours
        with pytest.raises(ExceptionGroup) as caught:
            await deliverer.run()
    assert caught.group_contains(TypeError)
    async with running(deliverer):
        await bench.until(lambda rows: delivered(rows) == 1)


class SlowToEnd(Outbox):
    """An outbox whose claim takes a while to end when it is cancelled, as a commit does."""

    has_begun = has_ended = False

    async def claim(self, *_most: Any, **_about: Any) -> list[Leased]:
        self.has_begun = True
        never: asyncio.Future[list[Leased]] = asyncio.get_running_loop().create_future()
        try:
            return await never
        finally:
            for _ in range(10):
                await asyncio.sleep(0)
            self.has_ended = True


async def test_one_that_is_cut_short_ends_after_its_tasks(bench: Any) -> None:
    outbox = bench.use(SlowToEnd)
    await bench.settle("p-1")
    task = asyncio.create_task(bench.deliverer(Current(bench.client())).run())
    await bench.until(lambda _: outbox.has_begun)

    task.cancel()
    await asyncio.wait({task})

    assert outbox.has_ended


async def test_a_client_that_cannot_be_built_leaves_nothing_open(bench: Any) -> None:
    bench.secrets = ("whsec_A",)
    with pytest.raises(ValueError, match="data characters"):
        bench.client()
    gc.collect()  # a session that is left open says so here
