"""Results of calls on their way to the store."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, cast

import pytest

from reconciler.ledger import (
    CallFailed,
    Fetched,
    Lane,
    Observation,
    State,
    TrackedProcess,
    Verb,
)
from reconciler.ledger.policy import MINUTE
from reconciler.reconcile.recorder import RETRY, Recorder
from reconciler.runtime.bell import Bell
from tests.reconcile.stage import NotedQueue

if TYPE_CHECKING:
    from tests.reconcile.stage import Instance, Play


async def claimed(play: Play, number: int) -> list[TrackedProcess]:
    """So many overdue processes, each under a lease for a Get process."""
    play.set_policy(ladder=(Verb.FETCH,))
    await play.register_many([f"p{n}" for n in range(number)])
    play.clock.wall += 15 * MINUTE
    await play.store.work.turn_overdue(play.rules, play.clock.now(), number)
    return await play.store.work.claim(
        (Lane.OVERDUE,), number, owner="one", rules=play.rules, now=play.clock.now(), length=20_000
    )


@pytest.mark.fault("the store", "is locked when a call has been made")
async def test_results_survive_a_store_that_is_locked_for_a_while(
    play: Play, one: Instance
) -> None:
    work = NotedQueue(play.store.database)
    due, news = Bell("due"), Bell("news")
    recorder = Recorder(work, one.current, due=due, news=news, clock=play.clock, log=play.log)
    processes = await claimed(play, 3)
    with closing(sqlite3.connect(play.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for process in processes:
            recorder.put(process.process_id, Fetched(process.attempt, "accepted"))
        running = asyncio.create_task(recorder.run())
        await play.until(lambda: RETRY in play.clock.sleeps)  # the first attempt has failed
        assert work.outcomes == []
        assert not due.is_rung
        other.execute("ROLLBACK")

    await play.until(lambda: len(work.outcomes) == 3)
    assert due.is_rung
    assert news.is_rung
    assert (await play.process("p2")).state is State.SETTLED
    recorder.stop()
    await running


@pytest.mark.parametrize(
    "poison",
    [
        Fetched(1, "pending", provider=cast("str", object())),
        Fetched(1, "pending", provider="\ud800"),
        CallFailed(1, cast("str", object())),
    ],
    ids=["the driver refuses it", "it has no encoding", "it is no JSON"],
)
async def test_a_poisoned_result_fails_alone(
    play: Play, one: Instance, poison: Observation
) -> None:
    first, sick, last = await claimed(play, 3)

    one.recorder.put(first.process_id, Fetched(first.attempt, "accepted"))
    one.recorder.put(sick.process_id, poison)
    one.recorder.put(last.process_id, Fetched(last.attempt, "rejected"))
    await play.until(lambda: len(one.outcomes) >= 2)
    await one.stop()

    assert (await play.process(first.process_id)).status == "accepted"
    assert (await play.process(last.process_id)).status == "rejected"
    assert (await play.process(sick.process_id)).lease == sick.lease
    assert not one.recording.cancelled()
    assert one.recording.exception() is None
    lines = play.logged("result_not_recorded")
    assert [line["process_id"] for line in lines] == [sick.process_id]


async def test_stop_writes_down_what_is_queued(play: Play) -> None:
    one = await play.daemon()
    processes = await claimed(play, 250)
    for process in processes:
        one.recorder.put(process.process_id, Fetched(process.attempt, "accepted"))

    await one.stop()

    assert (await play.store.views.counts()).states["settled"] == 250


async def test_stop_does_not_wait_for_a_store_that_is_gone(play: Play, one: Instance) -> None:
    (process,) = await claimed(play, 1)
    await play.store.database.close()
    one.recorder.put(process.process_id, Fetched(process.attempt, "accepted"))

    async with asyncio.timeout(30):
        await one.stop()
    assert one.outcomes == []


async def test_no_more_calls_are_made_than_can_be_written_down(play: Play, one: Instance) -> None:
    """A recorder that does not get on is played by one that does not run."""
    one.recording.cancel()
    await asyncio.wait({one.recording})
    await play.register_many([f"p{n:03}" for n in range(300)])

    await play.tick(15 * MINUTE)
    await play.until(lambda: one.recorder.is_behind)
    for _ in range(20):
        await play.tick()
    assert len(play.calls()) < 120

    one.recording = asyncio.create_task(one.recorder.run())
    await play.rest()
    assert len(play.calls("p299")) == 2
