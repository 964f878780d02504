"""Repeated work: woken by APScheduler, done by a task of its own."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
import time_machine
from structlog.testing import CapturingLogger

from reconciler.daemon.scheduler import STALE, Scheduler
from reconciler.runtime.bell import Bell
from reconciler.store.errors import StoreError, StoreUnavailableError
from tests.clock import PlayedClock

HOUR = 3600.0
PATIENCE = 30.0
"""Seconds after which a condition counts as never met."""


class Turns:
    """A job that counts its turns, and holds each where the test says so."""

    def __init__(self, name: str = "job", seconds: float = HOUR) -> None:
        self.name = name
        self.seconds = seconds
        self.bell = Bell(name)
        self.begun = 0
        self.ended = 0
        self.at_once = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.fails: Exception | None = None
        self.has_more = False

    async def turn(self) -> bool:
        self.begun += 1
        self.at_once = max(self.at_once, self.begun - self.ended)
        await self.may_end.wait()
        self.ended += 1
        if self.fails is not None:
            raise self.fails
        return self.has_more


class Stage:
    """A scheduler on a played clock, with the lines that it logs."""

    def __init__(self) -> None:
        self.clock = PlayedClock()
        self.lines = CapturingLogger()
        self.log: Any = structlog.wrap_logger(
            self.lines, processors=[], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        self.scheduler = Scheduler(self.clock, self.log)
        self.running: asyncio.Task[None] | None = None

    def start(self, *jobs: Turns) -> None:
        for job in jobs:
            self.scheduler.add(job)
        self.running = asyncio.create_task(self.scheduler.run())

    async def stop(self) -> None:
        self.scheduler.stop()
        if self.running is not None:
            async with asyncio.timeout(PATIENCE):
                await self.running

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.001)

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line.kwargs for line in self.lines.calls if line.kwargs["event"] == event]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.stop()


async def test_the_scheduler_rings_for_a_job_again_and_again_on_the_loop_itself(
    stage: Stage,
) -> None:
    # In debug mode the loop refuses to be woken from another thread.
    asyncio.get_running_loop().set_debug(True)
    job = Turns(seconds=0.01)
    stage.start(job)
    await stage.until(lambda: job.ended >= 5)
    assert stage.logged("job_missed") == []


async def test_a_tick_at_the_very_moment_of_a_stop_is_no_error(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    job = Turns()
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
        stage.start(job)
        await asyncio.sleep(0)
        clock.shift(timedelta(hours=1))
        stage.scheduler.wakeup()
        await stage.stop()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_job_is_never_done_twice_at_once_and_rings_meanwhile_are_one_more_turn(
    stage: Stage,
) -> None:
    job = Turns()
    job.may_end.clear()
    stage.start(job)
    job.bell.ring()
    await stage.until(lambda: job.begun == 1)
    for _ in range(10):
        job.bell.ring()
        await asyncio.sleep(0)

    job.may_end.set()
    await stage.until(lambda: job.ended == 2)
    for _ in range(10):
        await asyncio.sleep(0)
    assert (job.begun, job.at_once) == (2, 1)


@pytest.mark.parametrize(
    "failure", [StoreUnavailableError("locked"), StoreError("corrupt"), ValueError("a bug")]
)
async def test_a_turn_that_fails_stops_neither_the_next_nor_another_job(
    stage: Stage, failure: Exception
) -> None:
    sick, well = Turns("sick"), Turns("well")
    sick.fails = failure
    stage.start(sick, well)
    for turn in range(1, 4):
        sick.bell.ring()
        well.bell.ring()
        await stage.until(lambda turn=turn: sick.ended == well.ended == turn)  # type: ignore[misc]

    sick.fails = None
    sick.bell.ring()
    await stage.until(lambda: sick.ended == 4)
    assert {line["job"] for line in stage.logged("job_failed")} == {"sick"}


async def test_a_store_that_is_away_is_said_once_until_it_is_back(stage: Stage) -> None:
    job = Turns()
    stage.start(job)
    for fails, ended in ((True, 3), (False, 4), (True, 6)):
        job.fails = StoreUnavailableError("database is locked") if fails else None
        while job.ended < ended:
            before = job.ended
            job.bell.ring()
            await stage.until(lambda before=before: job.ended > before)  # type: ignore[misc]
    await asyncio.sleep(0)
    assert [line["reason"] for line in stage.logged("job_failed")] == ["database is locked"] * 2


async def test_a_job_that_hangs_holds_up_no_other(stage: Stage) -> None:
    hanging, well = Turns("hanging", 0.01), Turns("well", 0.01)
    hanging.may_end.clear()
    stage.start(hanging, well)
    await stage.until(lambda: well.ended >= 5)
    assert hanging.begun == 1
    hanging.may_end.set()


async def test_a_job_that_hangs_is_stale_and_one_that_fails_is_not(stage: Stage) -> None:
    job = Turns(seconds=5.0)
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False):  # nothing rings
        stage.start(job)
        for fails in (None, ValueError()):
            job.fails = fails
            stage.clock.move(STALE + 1)
            assert stage.scheduler.stale() == ["job"]
            job.bell.ring()
            await stage.until(lambda: stage.scheduler.stale() == [])

        job.may_end.clear()
        job.bell.ring()
        await stage.until(lambda: job.begun == 3)
        stage.clock.move(STALE + 1)
        job.bell.ring()
        await asyncio.sleep(0)
        assert stage.scheduler.stale() == ["job"]
        job.may_end.set()


async def test_a_job_that_is_done_seldom_is_stale_later(stage: Stage) -> None:
    stage.start(Turns(seconds=STALE))
    stage.clock.move(3 * STALE)
    assert stage.scheduler.stale() == []
    stage.clock.move(1)
    assert stage.scheduler.stale() == ["job"]


async def test_work_that_is_not_done_goes_on_by_itself_and_shows_that_it_lives(
    stage: Stage,
) -> None:
    job = Turns(seconds=1.0)
    job.has_more = True
    stage.start(job)
    stage.clock.move(STALE + 1)
    job.bell.ring()

    await stage.until(lambda: job.ended > 10)
    assert stage.scheduler.stale() == []
    job.has_more = False


async def test_stop_lets_the_present_turn_end_and_begins_no_other(stage: Stage) -> None:
    job = Turns()
    job.may_end.clear()
    job.has_more = True
    stage.start(job)
    job.bell.ring()
    await stage.until(lambda: job.begun == 1)
    job.bell.ring()
    stage.scheduler.stop()
    await asyncio.sleep(0)
    assert stage.running is not None
    assert not stage.running.done()

    job.may_end.set()
    await stage.stop()
    assert (job.begun, job.ended) == (1, 1)


async def test_nothing_is_stale_during_a_stop_which_has_a_limit_of_its_own(stage: Stage) -> None:
    stage.start(Turns())
    stage.clock.move(4 * HOUR)
    assert stage.scheduler.stale() == ["job"]
    await stage.stop()
    assert stage.scheduler.stale() == []


async def test_a_job_loop_that_is_cancelled_is_awaited(stage: Stage) -> None:
    job = Turns()
    job.may_end.clear()
    stage.start(job)
    job.bell.ring()
    await stage.until(lambda: job.begun == 1)
    assert stage.running is not None
    stage.running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stage.running
    assert {task for task in asyncio.all_tasks() if task.get_name() == "job"} == set()
    stage.running = None


@pytest.mark.parametrize("jump", [timedelta(days=-1), timedelta(days=3650)])
@pytest.mark.fault("the clock", "jumps between two sweeps")
async def test_a_jump_of_the_wall_clock_neither_silences_the_ticks_nor_makes_up_for_any(
    stage: Stage, jump: timedelta
) -> None:
    hourly, weekly = Turns("hourly"), Turns("weekly", 168 * HOUR)
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
        stage.start(hourly, weekly)
        await asyncio.sleep(0)
        clock.shift(timedelta(hours=1))
        stage.scheduler.wakeup()
        await stage.until(lambda: hourly.ended == 1)

        clock.shift(jump)
        stage.scheduler.wakeup()
        await stage.until(lambda: hourly.ended == weekly.ended + 1 == 2)
        assert 0 < stage.scheduler.next_in("hourly") <= HOUR
        assert 0 < stage.scheduler.next_in("weekly") <= 168 * HOUR

        clock.shift(timedelta(hours=1))
        stage.scheduler.wakeup()
        await stage.until(lambda: hourly.ended == 3)
        assert weekly.ended == 1
        await stage.stop()


async def test_another_interval_counts_from_then_on_and_outlives_a_jump_of_the_clock(
    stage: Stage,
) -> None:
    job = Turns()
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
        stage.start(job)
        await asyncio.sleep(0)
        job.seconds = 60.0
        stage.scheduler.reschedule()
        clock.shift(timedelta(seconds=60))
        stage.scheduler.wakeup()
        await stage.until(lambda: job.ended == 1)
        clock.shift(timedelta(days=-1))
        stage.scheduler.wakeup()
        await stage.until(lambda: job.ended == 2)
        assert stage.scheduler.next_in("job") == 60.0
        await stage.stop()
