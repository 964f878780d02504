"""What turns overdue, what a clock did, and how much of it one tick does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.ledger import Lane, Recheck, State, TrackedProcess, Verb
from reconciler.ledger.policy import DAY, HOUR, MINUTE
from reconciler.reconcile.overdue import MARKED_AT_ONCE, MOST_AT_ONCE, MOST_BATCHES, OverdueChecker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.reconcile.conftest import Instance, Play

LEASE = 20_000


async def test_every_process_whose_time_is_over_turns_overdue_once(play: Play) -> None:
    ids = await play.register_many([f"p{n:03}" for n in range(250)])
    play.clock.wall += 1
    await play.register("later")
    woken: list[bool] = []
    watch = make_watch(play, on_due=lambda: woken.append(True))
    play.clock.wall += 15 * MINUTE - 1

    assert not await watch.tick()
    assert (await play.store.views.counts()).states == {
        "waiting": 1, "reported": 0, "overdue": 250, "settled": 0, "gone": 0, "expired": 0,
    }  # fmt: skip
    assert len(play.logged("process_overdue")) == len(ids)
    assert woken

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


async def test_a_clock_that_jumps_back_lets_nothing_wait_longer_than_its_wait(
    play: Play, one: Instance
) -> None:
    play.set_policy(ladder=(Verb.FETCH,))
    await play.register("overdue")
    play.world.faults.forbidden = {"overdue"}
    await play.rest(15 * MINUTE)
    await play.register("waiting")
    assert (await play.process("overdue")).next_check_at == play.clock.now() + MINUTE // 2

    await play.tick(-HOUR)

    assert (await play.process("waiting")).next_check_at == play.clock.now() + 15 * MINUTE
    assert (await play.process("overdue")).next_check_at == play.clock.now() + MINUTE // 2
    assert [line["processes"] for line in play.logged("clock_jumped_back")] == [2]
    await play.tick()
    assert len(play.logged("clock_jumped_back")) == 1


async def test_a_jump_back_within_a_long_sweep_interval_is_seen_by_the_monotonic_clock(
    play: Play,
) -> None:
    watch = make_watch(play)
    play.clock.wall += 50 * MINUTE
    await play.register()
    play.clock.at += 3600
    play.clock.wall -= 40 * MINUTE  # still later than when the watch last looked

    await watch.tick()

    assert (await play.process()).next_check_at == play.clock.now() + 15 * MINUTE
    assert len(play.logged("clock_jumped_back")) == 1


@pytest.mark.parametrize("jump", [DAY, 5 * MINUTE])
async def test_a_lease_from_before_a_jump_back_is_no_longer_than_a_lease(
    play: Play, jump: int
) -> None:
    watch = make_watch(play)
    await play.register()
    play.clock.wall += 15 * MINUTE
    await watch.tick()
    assert len(await claim(play)) == 1

    play.clock.wall -= jump
    await watch.tick()
    held = (await play.process()).lease
    assert held is not None
    assert (held.begun_at, held.until) == (play.clock.now(), play.clock.now() + LEASE)

    play.clock.wall += 15 * MINUTE
    assert len(await claim(play)) == 1


async def claim(play: Play) -> list[TrackedProcess]:
    return await play.store.work.claim(
        (Lane.OVERDUE,), 9, owner="dead", rules=play.rules, now=play.clock.now(), length=LEASE
    )


def nothing() -> None:
    """Nobody needs to know."""


async def test_marking_all_after_a_downtime_tells_that_it_moves(play: Play) -> None:
    await play.register_many([f"p{n:05}" for n in range(MARKED_AT_ONCE + 1)])
    moves: list[int] = []
    watch = make_watch(play, on_progress=lambda: moves.append(1))

    await watch.after_downtime(play.clock.now() - HOUR)

    assert len(moves) == 2


def make_watch(
    play: Play, on_due: Callable[[], None] = nothing, on_progress: Callable[[], None] = nothing
) -> OverdueChecker:
    return OverdueChecker(
        play.store.work,
        rules=play.get_rules,
        clock=play.clock,
        on_due=on_due,
        log=play.log,
        on_progress=on_progress,
    )
