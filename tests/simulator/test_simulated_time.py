"""The simulator on a clock that only moves when it is told."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import structlog

from reconciler.runtime.clock import Clock
from reconciler.simulator import SimProcess, Simulator, World


class PlayedTime(Clock):
    """A clock whose monotonic time and sleeps stand still until `advance`."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        awake = asyncio.Event()
        self._sleepers.append((self._now + seconds, awake))
        self.advance(0)
        await awake.wait()

    def advance(self, seconds: float) -> None:
        self._now += seconds
        for until, awake in self._sleepers:
            if until <= self._now:
                awake.set()
        self._sleepers = [(until, awake) for until, awake in self._sleepers if until > self._now]


@pytest.fixture
def time() -> PlayedTime:
    return PlayedTime()


@pytest.fixture
def world(time: PlayedTime) -> World:
    return World(seed=3, clock=time)


@pytest.fixture
async def simulator(world: World) -> AsyncIterator[Simulator]:
    simulator = Simulator(world, log=structlog.get_logger(), token_lifetime=60)
    await simulator.start()
    yield simulator
    await simulator.stop()


async def shown(assure: aiohttp.ClientSession, process: SimProcess) -> str:
    """The status that Get process tells."""
    path = f"/assure/dossiers/{process.dossier_id}/processes/{process.process_id}"
    async with assure.get(path) as response:
        return str((await response.json())["status"])


async def test_a_process_finishes_when_its_time_has_come(
    world: World, time: PlayedTime, assure: aiohttp.ClientSession, received: list[Any]
) -> None:
    later = world.add(finish_in=50, final_status="rejected")
    sooner = world.add(finish_in=30, final_status="accepted")

    time.advance(29)
    assert await shown(assure, sooner) == "pending"
    time.advance(1)
    await world.until(lambda: len(received) == 1)
    assert (await shown(assure, sooner), await shown(assure, later)) == ("accepted", "pending")

    time.advance(20)
    await world.until(lambda: len(received) == 2)
    assert [body["processId"] for body in received] == [sooner.process_id, later.process_id]


async def test_a_delayed_callback_comes_after_the_status_can_be_read(
    world: World, time: PlayedTime, assure: aiohttp.ClientSession, received: list[Any]
) -> None:
    world.faults.callback_delay = 10
    process = world.finish(world.add().process_id, "accepted")

    time.advance(9)
    assert await shown(assure, process) == "accepted"
    assert received == []
    time.advance(1)
    await world.until(lambda: process.callbacks_sent == 1)


@pytest.mark.parametrize("callback", ["send", "lose"])
async def test_a_lagging_api_stays_pending_after_its_own_callback(
    world: World, time: PlayedTime, assure: aiohttp.ClientSession, callback: Any
) -> None:
    world.faults.update({"lag": 5, "callback_delay": 2})
    process = world.finish(world.add(callback=callback).process_id, "accepted")

    assert await shown(assure, process) == "pending"
    time.advance(6.9)
    assert await shown(assure, process) == "pending"
    time.advance(0.1)
    assert await shown(assure, process) == "accepted"


async def test_latency_holds_an_answer_that_was_decided_on_arrival(
    world: World, time: PlayedTime, assure: aiohttp.ClientSession
) -> None:
    world.faults.latency = 8
    process = world.add()
    answer = asyncio.create_task(shown(assure, process))
    await world.until(lambda: process.fetches == 1)
    world.finish(process.process_id, "accepted")

    time.advance(7)
    assert world.calls[0].http_status is None
    time.advance(1)

    assert await answer == "pending"


async def test_latency_holds_the_token_endpoint_too(
    world: World, simulator: Simulator, time: PlayedTime, assure: aiohttp.ClientSession
) -> None:
    world.faults.latency = 8
    request = asyncio.create_task(assure.post(simulator.token_url).__aenter__())
    await world.until(lambda: len(world.calls) == 1)
    assert world.calls[0].http_status is None

    time.advance(8)
    (await request).release()
    assert world.calls[0].http_status == 401


async def test_a_token_is_stale_after_its_lifetime(simulator: Simulator, time: PlayedTime) -> None:
    bearer = f"Bearer {simulator.tokens.issue()['access_token']}"

    time.advance(59.9)
    assert simulator.tokens.accepts(bearer)
    time.advance(0.1)
    assert not simulator.tokens.accepts(bearer)


async def test_the_most_calls_in_any_one_second_are_counted(
    world: World, time: PlayedTime, assure: aiohttp.ClientSession
) -> None:
    process = world.add()

    for gap in (0.5, 0.25, 0.25, 0.25, 2.0, 0.5):
        await shown(assure, process)
        time.advance(gap)

    # Arrivals at 0, 0.5, 0.75, 1, 1.25 and 3.25: four lie within one second, the first does not.
    assert world.log.most_per_second == 4
