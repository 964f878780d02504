"""The misconfiguration that looks like bad luck: callbacks that never come."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
import structlog

from reconciler.ledger import SettledBy, State, Verb
from reconciler.ledger.policy import MINUTE
from reconciler.reconcile.misconfiguration import CallbackPath
from reconciler.telemetry.logging import LogSystem

if TYPE_CHECKING:
    from pathlib import Path

    from tests.reconcile.stage import Instance, Play


@pytest.fixture
def numbers() -> count[int]:
    return count()


async def settle_by_fetch(play: Play, numbers: count[int], number: int) -> None:
    play.set_policy(ladder=(Verb.FETCH,))
    ids = await play.register_many([f"p{next(numbers)}" for _ in range(number)], callback="lose")
    for process_id in ids:
        play.world.finish(process_id, "accepted")
    await play.rest(15 * MINUTE)
    assert (await play.process(ids[-1])).state is State.SETTLED


async def suspicions(play: Play, one: Instance, settled: int) -> int:
    await play.until(lambda: len(one.outcomes) == settled)
    return len(play.logged("callback_path_suspect"))


async def test_twenty_settled_by_get_process_and_no_callback_are_suspect_and_said_once(
    play: Play, one: Instance, numbers: count[int]
) -> None:
    await settle_by_fetch(play, numbers, 19)
    assert await suspicions(play, one, 19) == 0
    await settle_by_fetch(play, numbers, 1)
    assert await suspicions(play, one, 20) == 1
    await settle_by_fetch(play, numbers, 45)
    assert await suspicions(play, one, 65) == 1
    assert play.logged("callback_path_suspect")[0]["settled_by_fetch"] == 20


async def test_a_callback_starts_the_count_again(
    play: Play, one: Instance, numbers: count[int]
) -> None:
    await settle_by_fetch(play, numbers, 19)
    await play.register("called-back")
    play.world.finish("called-back", "accepted")
    await play.until(lambda: len(one.outcomes) == 20)
    await settle_by_fetch(play, numbers, 19)
    assert await suspicions(play, one, 39) == 0

    await settle_by_fetch(play, numbers, 1)
    assert await suspicions(play, one, 40) == 1


def test_callbacks_that_another_daemon_takes_start_the_count_again() -> None:
    with structlog.testing.capture_logs() as said:
        path = CallbackPath(structlog.get_logger())
        for _ in range(19):
            path.note("info", "process_settled", {"by": SettledBy.FETCH})
        path.note("info", "process_settled", {"by": SettledBy.CALLBACK})
        path.note("info", "process_settled", {"by": SettledBy.FETCH})
    assert said == []


def test_it_counts_and_warns_in_the_log_that_it_listens_to(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as stream:
        logs = LogSystem(level="error", format="json", stream=stream)
        logs.tap(CallbackPath(logs.logger).note)
        heard: list[str | None] = []
        logs.tap(lambda _level, event, _fields: heard.append(event))
        for _ in range(25):
            logs.logger.info("process_settled", process_id="p", by="fetch")
        logs.close(30)
    assert heard.count("process_settled") == 25
    assert heard.count("callback_path_suspect") == 1


async def test_pending_ones_do_not_count(play: Play, one: Instance, numbers: count[int]) -> None:
    await settle_by_fetch(play, numbers, 19)
    await play.register_many([f"pending-{n}" for n in range(10)])
    await play.rest(15 * MINUTE)
    assert await suspicions(play, one, 29) == 0
