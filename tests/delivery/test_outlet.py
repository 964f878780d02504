"""One deliverer follows the other, and nothing is lost or sent by two."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from reconciler.delivery.outlet import Line, Outlet
from reconciler.store.delivery_row import DeliveryState


@asynccontextmanager
async def running(line: Line | None) -> AsyncIterator[Outlet]:
    outlet = Outlet(line)
    task = asyncio.create_task(outlet.run())
    outlet.wake()
    try:
        yield outlet
    finally:
        outlet.stop()
        async with asyncio.timeout(30):
            await task
        await outlet.close()


def delivered(rows: list[Any]) -> int:
    return sum(row.state == DeliveryState.DELIVERED for row in rows)


async def test_what_has_begun_ends_on_the_old_line_and_only_the_newest_takes_over(
    bench: Any,
) -> None:
    hold = asyncio.Event()

    async def answer(_request: web.Request) -> web.Response:
        await hold.wait()
        return web.Response()

    bench.receiver.answer = answer
    bench.slots = 1
    lines = []
    for name in ("one", "two", "three"):
        bench.headers = {"X-Line": name}
        lines.append(bench.line(name))
    one, two, three = lines
    await bench.settle("p-1", "p-2", "p-3")
    async with running(one) as outlet:
        await bench.receiver.has(1)
        outlet.use(two)
        outlet.use(three)
        hold.set()
        await bench.until(lambda rows: delivered(rows) == 3)
        assert one.session.closed
        assert two.session.closed
        assert not three.session.closed
    assert three.session.closed
    assert [headers["X-Line"] for headers, _ in bench.receiver.got] == ["one", "three", "three"]


async def test_deliveries_can_be_switched_on_and_off_again(bench: Any) -> None:
    await bench.settle("p-1")
    async with running(None) as outlet:
        outlet.wake()
        outlet.use(bench.line())
        await bench.until(lambda rows: delivered(rows) == 1)
        outlet.use(None)
        await bench.settle("p-2")
        outlet.wake()
        outlet.use(bench.line("again"))
        await bench.until(lambda rows: delivered(rows) == 2)
    assert [body["data"]["processId"] for _, body in bench.receiver.got] == ["p-1", "p-2"]


async def test_a_line_that_comes_during_the_stop_sends_nothing(bench: Any) -> None:
    async with running(None) as outlet:
        outlet.stop()
        outlet.use(line := bench.line())
        await bench.settle("p-1")
        outlet.wake()
    assert line.session.closed
    assert bench.receiver.got == []


async def test_an_outlet_that_has_failed_can_be_run_again(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.settle("p-1")
    line = bench.line()
    outlet = Outlet(line)
    outlet.wake()
    with monkeypatch.context() as patch:
        patch.setattr(bench.store.outbox, "has_due", None)  # a bug of ours
        with pytest.raises(TypeError):
            await outlet.run()
    assert not line.session.closed
    task = asyncio.create_task(outlet.run())
    outlet.wake()
    await bench.until(lambda rows: delivered(rows) == 1)
    outlet.stop()
    await asyncio.wait_for(task, 30)
    await outlet.close()
