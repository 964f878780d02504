"""The overdue checker: time-outs and downtimes, in bounded pieces."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.ledger import Recheck, State
from reconciler.ledger.policy import DAY, HOUR, MINUTE
from reconciler.reconcile.overdue import MARKED_AT_ONCE, MOST_AT_ONCE, MOST_BATCHES, OverdueChecker
from reconciler.runtime.bell import Bell
from reconciler.runtime.current_value import Current
from reconciler.store.work_queue import WorkQueue
from tests.configuration import in_force_with

if TYPE_CHECKING:
    from tests.reconcile.stage import Play


async def test_every_process_whose_time_is_over_turns_overdue_once(play: Play) -> None:
    ids = await play.register_many([f"p{n:03}" for n in range(250)])
    play.clock.wall += 1
    await play.register("later")
    due = Bell("due")
    watch = make_watch(play, due)
    play.clock.wall += 15 * MINUTE - 1

    assert not await watch.tick()
    assert (await play.store.views.counts()).states == {
        "waiting": 1, "reported": 0, "overdue": 250, "settled": 0, "gone": 0, "expired": 0,
    }  # fmt: skip
    assert len(play.logged("process_overdue")) == len(ids)
    assert due.is_rung

    assert not await watch.tick()
    assert len(play.logged("process_overdue")) == len(ids)


async def test_one_tick_does_a_bounded_piece_and_says_that_there_is_more(play: Play) -> None:
    a_tick = MOST_AT_ONCE * MOST_BATCHES
    await play.register_many([f"p{n:05}" for n in range(a_tick + 10)])
    watch = make_watch(play)
    play.clock.wall += 15 * MINUTE

    assert await watch.tick()
    assert (await play.store.views.counts()).states["overdue"] == a_tick
    assert not await watch.tick()
    assert (await play.store.views.counts()).states["overdue"] == a_tick + 10


async def test_one_that_a_person_asked_about_turns_overdue_in_the_same_tick_as_all_others(
    play: Play,
) -> None:
    watch = make_watch(play)
    await play.register_many(["asked", "other"])
    await play.store.work.record(
        [("asked", Recheck(None, "somebody"))], play.rules, play.clock.now()
    )
    await watch.tick()
    assert (await play.process("asked")).state is State.WAITING

    play.clock.wall += 15 * MINUTE
    await watch.tick()
    assert (await play.process("asked")).state is State.OVERDUE
    assert (await play.process("other")).state is State.OVERDUE


async def test_all_that_waited_is_marked_in_pieces_after_a_downtime(play: Play) -> None:
    await play.register_many([f"p{n:05}" for n in range(MARKED_AT_ONCE + 1)])
    due = Bell("due")
    watch = make_watch(play, due)
    last_alive_at = play.clock.now() - HOUR

    pieces = [await watch.after_downtime(last_alive_at) for _ in range(2)]
    assert pieces == [True, True]
    assert not watch.has_caught_up
    assert not await watch.after_downtime(last_alive_at)

    assert watch.has_caught_up
    assert due.is_rung
    assert [line["processes"] for line in play.logged("downtime_detected")] == [MARKED_AT_ONCE + 1]


async def test_a_downtime_in_which_the_clock_was_put_back_counts_although_its_length_is_unknown(
    play: Play,
) -> None:
    await play.register()
    watch = make_watch(play)
    last_alive_at = play.clock.now() + DAY
    while await watch.after_downtime(last_alive_at):
        pass
    assert [(line["gap_s"], line["processes"]) for line in play.logged("downtime_detected")] == [
        (None, 1)
    ]


async def test_where_another_daemon_marks_after_a_downtime_it_is_not_waited_for_nor_relied_on(
    play: Play,
) -> None:
    work = Marked(play.store.database)
    watch = make_watch(play, work=work)

    assert not await watch.after_downtime(play.clock.now() - HOUR)
    assert not watch.has_caught_up

    work.is_free = True
    assert not await watch.after_downtime(play.clock.now() - HOUR)
    assert watch.has_caught_up


class Marked(WorkQueue):
    """A queue that another daemon is marking, until it ``is_free``."""

    is_free = False

    async def owe_catch_up(self, until: int, most: int) -> int | None:
        return await super().owe_catch_up(until, most) if self.is_free else None


def make_watch(
    play: Play, due: Bell | None = None, work: WorkQueue | None = None
) -> OverdueChecker:
    return OverdueChecker(
        work or play.store.work,
        Current(replace(in_force_with(), rules=play.rules)),
        due=due or Bell("due"),
        clock=play.clock,
        log=play.log,
    )
