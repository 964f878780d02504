"""A stop claims nothing more, finishes what is out, and gives back what it does not use."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.assure import AssureClient, ProcessStatus
from reconciler.ledger import State, Verb
from reconciler.ledger.policy import MINUTE

if TYPE_CHECKING:
    from tests.reconcile.stage import Instance, Play


@pytest.fixture(autouse=True)
def _fetch_only(play: Play) -> None:
    play.set_policy(ladder=(Verb.FETCH,))


async def finished(play: Play, *process_ids: str) -> None:
    for process_id in process_ids:
        await play.register(process_id, callback="lose")
        play.world.finish(process_id, "accepted")


async def test_a_stop_waits_for_the_calls_that_are_out_and_records_them(
    play: Play, one: Instance
) -> None:
    await one.have_token()
    await finished(play, "p1", "p2")
    play.hold()
    await play.tick(15 * MINUTE)
    await play.until_calls(2)

    stopping = asyncio.create_task(one.stop())
    for _ in range(20):
        await play.store.instances.last_alive_at()
    assert not stopping.done()

    play.let_go()
    async with asyncio.timeout(30):
        await stopping
    assert (await play.process("p1")).state is State.SETTLED
    assert (await play.process("p2")).state is State.SETTLED


async def test_a_stop_claims_nothing_more(play: Play, one: Instance) -> None:
    await finished(play, "p1")
    one.sweeper.stop()
    await one.watch.tick()
    async with asyncio.timeout(30):
        await one.sweeping
    play.clock.wall += 15 * MINUTE
    await one.watch.tick()

    assert (await play.process()).attempt == 0
    assert play.calls() == []


async def test_a_stop_while_the_budget_is_paused_for_an_hour_ends_at_once(play: Play) -> None:
    one = await play.daemon(rate=1, real_time=False)
    await finished(play, "p1", "p2")
    await play.tick(15 * MINUTE)
    await play.until(lambda: len(one.outcomes) == 1)  # now the next unit is waited for
    one.budget.pause(3600)
    play.clock.move(1.5)

    async with asyncio.timeout(30):
        await one.stop()

    assert play.calls() == ["fetch"]
    play.clock.flies = True
    before = play.clock.at
    assert await one.budget.take() == 1
    assert play.clock.at - before == pytest.approx(3598.5)  # for the pause, not for the unit


async def test_units_that_a_stop_leaves_unused_are_given_back(play: Play) -> None:
    one = await play.daemon(rate=100, real_time=False)
    await finished(play, "p1")
    taken: list[int] = []
    take = one.budget.take

    async def take_and_stop(most: int = 1) -> int:
        taken.append(await take(most))
        asyncio.get_running_loop().call_soon(one.sweeper.stop)
        return taken[-1]

    one.budget.take = take_and_stop  # type: ignore[method-assign]  # the stop comes just then
    await play.tick(15 * MINUTE)
    async with asyncio.timeout(30):
        await one.sweeping

    assert taken == [10]
    assert play.calls() == []
    assert await take(10) == 10


async def test_a_sweeper_that_is_cut_short_leaves_nothing_running(play: Play) -> None:
    one = await play.daemon(rate=1, real_time=False)
    await finished(play, "warm-up", "p1", "p2")
    await play.tick(15 * MINUTE)
    await play.until(lambda: len(one.outcomes) == 1)
    play.hold()
    play.clock.move(1.1)
    await play.tick()
    await play.until_calls(2)  # one call is out, and the third unit is waited for

    one.sweeping.cancel()
    await asyncio.wait({one.sweeping})
    assert working() == []


async def test_a_sweeper_that_is_cut_short_ends_after_its_calls(
    play: Play, one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    ended: list[str] = []

    async def slow_to_end(_client: AssureClient, *about: str, until: float) -> ProcessStatus:
        called.append(about[1])
        never: asyncio.Future[ProcessStatus] = asyncio.get_running_loop().create_future()
        try:
            return await never
        finally:
            for _ in range(10):
                await asyncio.sleep(0)
            ended.append(about[1])

    monkeypatch.setattr(AssureClient, "get_process", slow_to_end)
    await play.register_many(["p1", "p2"])
    await play.tick(15 * MINUTE)
    await play.until(lambda: len(called) == 2)

    one.sweeping.cancel()
    await asyncio.wait({one.sweeping})

    assert sorted(ended) == ["p1", "p2"]


def working() -> list[str]:
    """Return the sweeper's tasks on the loop: calls, and the wait for the budget."""
    names = [task.get_name() + repr(task.get_coro()) for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith("call ") or "Budget.take" in name]


async def test_however_often_it_is_woken_while_it_may_not_call_there_is_one_timer(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await play.daemon(real_time=False)
    await finished(play, "p1")
    one.breaker.trip("http_401")
    loop = asyncio.get_running_loop()
    call_at = loop.call_at
    timers: list[asyncio.TimerHandle] = []

    def noting(when: float, callback: Any, *args: Any, **context: Any) -> asyncio.TimerHandle:
        handle = call_at(when, callback, *args, **context)
        if 0.5 < when - loop.time() <= 1.0:  # until a probe may go
            timers.append(handle)
        return handle

    monkeypatch.setattr(loop, "call_at", noting)
    play.clock.wall += 15 * MINUTE
    for _ in range(50):
        await one.watch.tick()
    await play.until(lambda: len(timers) > 10)

    assert sum(not timer.cancelled() for timer in timers) == 1
    await one.stop()
    assert all(timer.cancelled() for timer in timers)
