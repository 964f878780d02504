"""Repeated work: woken by APScheduler, done by a task of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import time_machine

from reconciler.daemon.scheduler import Job, reschedule, schedule
from reconciler.store.errors import StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from tests.reconcile.conftest import Play

Work = Callable[[], Awaitable[bool | None]]
HOUR = 3600.0


class Turns:
    """Work that counts its turns, and holds each where the test says so."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.at_once = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.fails: Exception | None = None
        self.has_more = False

    async def __call__(self) -> bool:
        self.begun += 1
        self.at_once = max(self.at_once, self.begun - self.ended)
        await self.may_end.wait()
        self.ended += 1
        if self.fails is not None:
            raise self.fails
        return self.has_more


@pytest.fixture
async def start(play: Play) -> AsyncIterator[Callable[[Work], Job]]:
    """Make a chore and let it run until the end of the test."""
    running: dict[Job, asyncio.Task[None]] = {}

    def start(work: Work) -> Job:
        chore = Job(f"chore-{len(running)}", work, monotonic=play.clock.monotonic, log=play.log)
        running[chore] = asyncio.create_task(chore.run(), name=chore.name)
        return chore

    yield start
    for chore in running:
        chore.stop()
    async with asyncio.timeout(30):
        await asyncio.gather(*running.values())


async def test_the_scheduler_wakes_a_chore_again_and_again_on_the_loop_itself(
    play: Play, start: Callable[[Work], Job]
) -> None:
    # In debug mode the loop refuses to be woken from another thread.
    asyncio.get_running_loop().set_debug(True)
    turns = Turns()
    scheduler = schedule({start(turns): 0.01}, play.log)

    await play.until(lambda: turns.ended >= 5)
    scheduler.shutdown(wait=False)
    assert play.logged("job_missed") == []


async def test_a_tick_at_the_very_moment_of_a_shutdown_is_no_error(
    play: Play, start: Callable[[Work], Job], caplog: pytest.LogCaptureFixture
) -> None:
    turns = Turns()
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
        scheduler = schedule({start(turns): HOUR}, play.log)
        await asyncio.sleep(0)
        clock.shift(timedelta(hours=1))
        scheduler.wakeup()
        scheduler.shutdown(wait=False)
        await play.until(lambda: turns.ended == 1)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_chore_is_never_done_twice_at_once_and_wakes_meanwhile_are_one_more_turn(
    play: Play, start: Callable[[Work], Job]
) -> None:
    turns = Turns()
    turns.may_end.clear()
    chore = start(turns)
    chore.wake()
    await play.until(lambda: turns.begun == 1)
    for _ in range(10):
        chore.wake()
        await asyncio.sleep(0)

    turns.may_end.set()
    await play.until(lambda: turns.ended == 2)
    for _ in range(10):
        await asyncio.sleep(0)
    assert (turns.begun, turns.at_once) == (2, 1)


@pytest.mark.parametrize(
    "failure", [StoreUnavailableError("locked"), StoreError("corrupt"), ValueError("a bug")]
)
async def test_a_turn_that_fails_stops_neither_the_next_nor_another_chore(
    play: Play, start: Callable[[Work], Job], failure: Exception
) -> None:
    sick, well = Turns(), Turns()
    sick.fails = failure
    failing, other = start(sick), start(well)
    for turn in range(1, 4):
        failing.wake()
        other.wake()
        await play.until(lambda turn=turn: sick.ended == well.ended == turn)  # type: ignore[misc]

    sick.fails = None
    failing.wake()
    await play.until(lambda: sick.ended == 4)
    assert {line["job"] for line in play.logged("job_failed")} == {failing.name}


async def test_a_store_that_is_away_is_said_once_until_it_is_back(
    play: Play, start: Callable[[Work], Job]
) -> None:
    turns = Turns()
    chore = start(turns)
    for fails, ended in ((True, 3), (False, 4), (True, 6)):
        turns.fails = StoreUnavailableError("database is locked") if fails else None
        while turns.ended < ended:
            before = turns.ended
            chore.wake()
            await play.until(lambda before=before: turns.ended > before)  # type: ignore[misc]
    await asyncio.sleep(0)
    assert [line["reason"] for line in play.logged("job_failed")] == ["database is locked"] * 2


async def test_a_chore_that_hangs_holds_up_no_other(
    play: Play, start: Callable[[Work], Job]
) -> None:
    hanging, well = Turns(), Turns()
    hanging.may_end.clear()
    scheduler = schedule({start(hanging): 0.01, start(well): 0.01}, play.log)

    await play.until(lambda: well.ended >= 5)
    scheduler.shutdown(wait=False)
    assert hanging.begun == 1
    hanging.may_end.set()


async def test_when_a_chore_last_ended_shows_whether_it_hangs(
    play: Play, start: Callable[[Work], Job]
) -> None:
    turns = Turns()
    chore = start(turns)
    assert chore.ran_at == play.clock.at
    for fails in (None, ValueError()):
        turns.fails = fails
        play.clock.move(5)
        chore.wake()
        await play.until(lambda: chore.ran_at == play.clock.at)

    turns.may_end.clear()
    chore.wake()
    await play.until(lambda: turns.begun == 3)
    play.clock.move(60)
    chore.wake()
    await asyncio.sleep(0)
    assert play.clock.at - chore.ran_at == 60
    turns.may_end.set()


async def test_work_that_is_not_done_goes_on_by_itself_and_shows_that_it_lives(
    play: Play, start: Callable[[Work], Job]
) -> None:
    turns = Turns()
    turns.has_more = True
    chore = start(turns)
    play.clock.move(5)
    chore.wake()

    await play.until(lambda: turns.ended > 10)
    assert chore.ran_at == play.clock.at
    turns.has_more = False


async def test_stop_lets_the_present_turn_end_and_begins_no_other(play: Play) -> None:
    turns = Turns()
    turns.may_end.clear()
    turns.has_more = True
    chore = Job("chore", turns, monotonic=play.clock.monotonic, log=play.log)
    running = asyncio.create_task(chore.run())
    chore.wake()
    await play.until(lambda: turns.begun == 1)
    chore.wake()
    chore.stop()
    assert not running.done()

    turns.may_end.set()
    async with asyncio.timeout(30):
        await running
    assert (turns.begun, turns.ended) == (1, 1)


async def test_stop_ends_a_chore_that_has_nothing_to_do(play: Play) -> None:
    chore = Job("chore", Turns(), monotonic=play.clock.monotonic, log=play.log)
    running = asyncio.create_task(chore.run())
    chore.stop()
    async with asyncio.timeout(30):
        await running


@pytest.mark.parametrize("jump", [timedelta(days=-1), timedelta(days=3650)])
async def test_a_jump_of_the_wall_clock_neither_silences_the_ticks_nor_makes_up_for_any(
    play: Play, start: Callable[[Work], Job], jump: timedelta
) -> None:
    hourly, weekly = Turns(), Turns()
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
        scheduler = schedule({start(hourly): HOUR, start(weekly): 168 * HOUR}, play.log)
        clock.shift(timedelta(hours=1))
        scheduler.wakeup()
        await play.until(lambda: hourly.ended == 1)

        clock.shift(jump)
        scheduler.wakeup()
        await play.until(lambda: hourly.ended == weekly.ended + 1 == 2)
        for job in scheduler.get_jobs():
            assert timedelta() < job.next_run_time - datetime.now(UTC) <= job.trigger.interval

        clock.shift(timedelta(hours=1))
        scheduler.wakeup()
        await play.until(lambda: hourly.ended == 3)
        assert weekly.ended == 1
        scheduler.shutdown(wait=False)


async def test_another_interval_counts_from_then_on_and_outlives_a_jump_of_the_clock(
    play: Play, start: Callable[[Work], Job]
) -> None:
    turns = Turns()
    chore = start(turns)
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
        scheduler = schedule({chore: HOUR}, play.log)
        reschedule(scheduler, chore, 60.0)
        clock.shift(timedelta(seconds=60))
        scheduler.wakeup()
        await play.until(lambda: turns.ended == 1)
        clock.shift(timedelta(days=-1))
        scheduler.wakeup()
        await play.until(lambda: turns.ended == 2)
        (job,) = scheduler.get_jobs()
        assert job.next_run_time - datetime.now(UTC) == timedelta(seconds=60)
        scheduler.shutdown(wait=False)
