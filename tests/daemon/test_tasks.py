"""The parts of a daemon: who is stopped when, and what the end of one means for the others."""

import asyncio
from typing import Any

import pytest
import structlog
from structlog.testing import CapturingLogger

from reconciler.daemon import tasks as tasks_module
from reconciler.daemon.tasks import STOP_LIMIT, Part, Tasks
from tests.clock import PlayedClock

PATIENCE = 30.0


class Work:
    """A part that ends when it may, and writes down when it was told to stop and ended."""

    def __init__(self, name: str, story: list[str], *, ends_at_once: bool = True) -> None:
        self.name = name
        self.story = story
        self.may_end = asyncio.Event()
        self.stopped = asyncio.Event()
        self.fails: Exception | None = None
        self.runs = 0
        if ends_at_once:
            self.may_end.set()

    async def run(self) -> None:
        self.runs += 1
        if self.fails is not None:
            raise self.fails
        try:
            await self.stopped.wait()
            await self.may_end.wait()
        finally:
            self.story.append(f"{self.name} ended")

    def stop(self) -> None:
        self.story.append(f"{self.name} stopped")
        self.stopped.set()


class Stage:
    def __init__(self) -> None:
        self.story: list[str] = []
        self.clock = PlayedClock()
        self.lines = CapturingLogger()
        self.log: Any = structlog.wrap_logger(
            self.lines, processors=[], wrapper_class=structlog.make_filtering_bound_logger(0)
        )

    def work(self, name: str, **more: Any) -> Work:
        return Work(name, self.story, **more)

    def tasks(self, *parts: Part) -> Tasks:
        return Tasks(parts, self.clock, self.log)

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line.kwargs for line in self.lines.calls if line.kwargs["event"] == event]


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_a_part_is_stopped_when_those_that_feed_it_have_ended(stage: Stage) -> None:
    listener, intake, sweeper = (stage.work(name) for name in ("listener", "intake", "sweeper"))
    tasks = stage.tasks(
        Part("sweeper", sweeper),
        Part("listener", listener),
        Part("intake", intake, after=("listener",)),
        Part("recorder", stage.work("recorder"), after=("sweeper", "intake")),
    )
    async with tasks.running():
        await asyncio.sleep(0)
    assert stage.story.index("listener ended") < stage.story.index("intake stopped")
    assert stage.story.index("intake ended") < stage.story.index("recorder stopped")
    assert stage.story.index("sweeper stopped") < stage.story.index("listener ended")
    assert stage.story[-1] == "recorder ended"


async def test_a_part_that_fails_is_told_and_stops_nobody_by_itself(stage: Stage) -> None:
    sick, well = stage.work("sick"), stage.work("well")
    sick.fails = ValueError("a bug")
    tasks = stage.tasks(Part("sick", sick), Part("well", well))
    async with tasks.running():
        async with asyncio.timeout(PATIENCE):
            await tasks.failed.wait()
        assert not well.stopped.is_set()
    assert [line["part"] for line in stage.logged("part_failed")] == ["sick"]
    assert "well ended" in stage.story


async def test_a_part_that_just_ends_counts_as_failed(stage: Stage) -> None:
    tired = stage.work("tired")
    tired.stopped.set()
    tasks = stage.tasks(Part("tired", tired))
    async with tasks.running(), asyncio.timeout(PATIENCE):
        await tasks.failed.wait()
    assert [line["part"] for line in stage.logged("part_failed")] == ["tired"]


async def test_a_part_that_is_kept_alive_is_started_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks_module, "RESTART", 0.001)
    sick = stage.work("sick")
    sick.fails = ValueError("a bug")
    tasks = stage.tasks(Part("sick", sick, is_kept_alive=True))
    async with tasks.running():
        async with asyncio.timeout(PATIENCE):
            while sick.runs < 3:
                await asyncio.sleep(0.001)
        sick.fails = None
        assert not tasks.failed.is_set()
    assert {line["part"] for line in stage.logged("part_restarted")} == {"sick"}


async def test_what_takes_too_long_is_cut_short_and_awaited(stage: Stage) -> None:
    slow = stage.work("slow", ends_at_once=False)
    after = stage.work("after")
    tasks = stage.tasks(Part("slow", slow), Part("after", after, after=("slow",)))
    async with tasks.running():
        await asyncio.sleep(0)
        tasks.begin_stop()
        stage.clock.move(STOP_LIMIT)
    assert [line["part"] for line in stage.logged("stop_cut_short")] == ["slow"]
    assert stage.story == ["slow stopped", "slow ended", "after stopped", "after ended"]


async def test_an_exception_in_the_block_stops_all_parts_in_order(stage: Stage) -> None:
    first, second = stage.work("first"), stage.work("second")
    tasks = stage.tasks(Part("first", first), Part("second", second, after=("first",)))
    with pytest.raises(OSError, match="no such address"):
        async with tasks.running():
            await asyncio.sleep(0)
            raise OSError("no such address")
    assert stage.story == ["first stopped", "first ended", "second stopped", "second ended"]
