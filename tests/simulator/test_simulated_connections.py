import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest
import structlog

from reconciler.simulator import SimProcess, Simulator, World

Ask = Callable[[SimProcess], Coroutine[Any, Any, tuple[int, Any]]]


async def test_a_dropped_call_ends_without_an_answer(world: World, fetch: Ask) -> None:
    process = world.add()
    world.faults.drop = True

    with pytest.raises(aiohttp.ClientConnectionError):
        await fetch(process)
    await world.until(lambda: world.calls[-1].http_status == 0)
    world.faults.drop = False
    assert (await fetch(process))[0] == 200


async def test_a_hanging_call_stays_in_flight_until_the_caller_gives_up(
    world: World, fetch: Ask
) -> None:
    process = world.add()
    world.faults.hang = 1.0

    calls = [asyncio.create_task(fetch(process)) for _ in range(2)]
    await world.until(lambda: process.fetches == 2)
    assert [c.http_status for c in world.calls] == [None, None]
    for call in calls:
        call.cancel()
    await world.until(lambda: [c.http_status for c in world.calls] == [0, 0])

    assert world.max_in_flight == {process.process_id: 2}
    assert world.log.most_at_once == 2


async def test_calls_one_after_the_other_are_never_two_in_flight(
    world: World, fetch: Ask, notify: Ask
) -> None:
    process = world.add()

    for call in (fetch, notify, fetch):
        await call(process)

    assert world.max_in_flight == {process.process_id: 1}


async def test_a_stop_ends_hanging_calls_and_a_start_serves_the_same_address_again(
    world: World, simulator: Simulator, fetch: Ask
) -> None:
    process = world.add()
    world.faults.hang = 1.0
    address = simulator.base_url
    hanging = asyncio.create_task(fetch(process))
    await world.until(lambda: process.fetches == 1)

    await simulator.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await hanging
    with pytest.raises(aiohttp.ClientConnectorError):
        await fetch(process)

    await simulator.start()
    world.faults.hang = 0.0
    assert simulator.base_url == address
    assert (await fetch(process))[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "::"])
def test_it_refuses_to_listen_on_anything_but_loopback(world: World, host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        Simulator(world, log=structlog.get_logger(), host=host)
