"""The building blocks: what a bell remembers, a bounded wait leaves alone, a shared look shares."""

import asyncio
from pathlib import Path

import pytest

from reconciler.runtime.bell import Bell
from reconciler.runtime.bounded_wait import wait_at_most
from reconciler.runtime.clock import Clock, age
from reconciler.runtime.disk import space_of, sync_directory
from reconciler.runtime.single_flight import CACHE, SingleFlight
from tests.clock import PlayedClock


async def test_rings_before_a_wait_are_remembered_as_one() -> None:
    bell = Bell("due")
    bell.ring()
    bell.ring()
    await bell.wait()
    assert not bell.is_rung


async def test_a_ring_wakes_the_part_that_waits() -> None:
    bell = Bell("due")
    waiting = asyncio.create_task(bell.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    bell.ring()
    await waiting


async def test_what_is_waited_for_too_long_goes_on() -> None:
    gate = asyncio.Event()
    task = asyncio.create_task(gate.wait())
    with pytest.raises(TimeoutError):
        await wait_at_most(task, 0.0)
    assert not task.cancelled()
    gate.set()
    assert await task


async def test_a_cancelled_waiter_leaves_the_work_alone() -> None:
    gate = asyncio.Event()
    task = asyncio.create_task(gate.wait())
    waiter = asyncio.create_task(wait_at_most(task, 60.0))
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    gate.set()
    assert await task


async def test_a_failure_is_raised_to_the_one_that_waits() -> None:
    async def fail() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await wait_at_most(asyncio.create_task(fail()), 1.0)


async def test_all_who_ask_at_the_same_moment_share_one_look_and_a_fresh_one_is_kept() -> None:
    clock, looks = PlayedClock(), 0

    async def look() -> int:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)
        return looks

    shared = SingleFlight(look, clock)
    both = await asyncio.gather(shared.get(1.0), shared.get(1.0))
    assert list(both) == [1, 1]
    assert await shared.get(1.0) == 1
    clock.move(CACHE)
    assert await shared.get(1.0) == 2


async def test_a_look_that_hangs_is_made_once_however_often_it_is_asked_for() -> None:
    gate, looks = asyncio.Event(), 0

    async def look() -> int:
        nonlocal looks
        looks += 1
        await gate.wait()
        return looks

    clock = PlayedClock()
    shared = SingleFlight(look, clock)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await shared.get(0.0)
        clock.move(10 * CACHE)
    gate.set()
    assert await shared.get(1.0) == 1


def test_the_room_of_a_path_that_is_not_there_is_that_of_its_disk(tmp_path: Path) -> None:
    assert space_of(tmp_path / "not" / "yet").size == space_of(tmp_path).size > 0


def test_a_directory_that_is_gone_cannot_be_made_durable(tmp_path: Path) -> None:
    sync_directory(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "gone")


async def test_the_clock_of_the_machine_runs() -> None:
    clock = Clock()
    before, wall = clock.monotonic(), clock.now()
    await clock.sleep(0.001)
    assert clock.monotonic() > before
    assert clock.now() >= wall


@pytest.mark.parametrize(
    ("since", "seconds"), [(8_500, 1.5), (10_000, 0.0), (12_000, 0.0), (None, None)]
)
def test_an_age_is_in_seconds_and_never_below_zero(
    since: int | None, seconds: float | None
) -> None:
    assert age(since, now=10_000) == seconds
