"""A clock that jumps back: nothing waits longer than its own wait or lease, mended in pieces."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.ledger import Fetched, Lane, Observation, Recheck, TrackedProcess, Verb
from reconciler.ledger.policy import DAY, HOUR, MINUTE
from reconciler.reconcile.clock_jump import MOST_AT_ONCE, ClockMender
from reconciler.runtime.current_value import Current
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.outbox import Attempt
from tests.configuration import in_force_with

if TYPE_CHECKING:
    from tests.reconcile.stage import Instance, Play

LEASE = 20_000


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
    mender = make_mender(play)
    play.clock.wall += 50 * MINUTE
    await play.register()
    play.clock.at += 3600
    play.clock.wall -= 40 * MINUTE  # still later than when the watch last looked

    await mender.tick()

    assert (await play.process()).next_check_at == play.clock.now() + 15 * MINUTE
    assert len(play.logged("clock_jumped_back")) == 1


@pytest.mark.fault("the clock", "jumps back during a call")
@pytest.mark.parametrize("jump", [DAY, 5 * MINUTE])
async def test_a_lease_from_before_a_jump_back_is_no_longer_than_a_lease(
    play: Play, jump: int
) -> None:
    mender = make_mender(play)
    await play.register()
    play.clock.wall += 15 * MINUTE
    await mender.tick()
    await play.store.work.turn_overdue(play.rules, play.clock.now(), 9)
    assert len(await claim(play)) == 1

    play.clock.wall -= jump
    await mender.tick()
    held = (await play.process()).lease
    assert held is not None
    assert (held.begun_at, held.until) == (play.clock.now(), play.clock.now() + LEASE)

    play.clock.wall += 15 * MINUTE
    assert len(await claim(play)) == 1


async def claim(play: Play, lane: Lane = Lane.OVERDUE) -> list[TrackedProcess]:
    return await play.store.work.claim(
        (lane,), 9, owner="dead", rules=play.rules, now=play.clock.now(), length=LEASE
    )


async def test_a_delivery_waits_no_longer_than_its_backoff_after_a_jump_back(play: Play) -> None:
    play.rules = replace(play.rules, deliver=True)
    mender = make_mender(play)
    await play.register()
    asked: list[tuple[str, Observation]] = [("p1", Recheck(Verb.FETCH, "ann"))]
    await play.store.work.record(asked, play.rules, play.clock.now())
    [held] = await claim(play, Lane.ASKED)
    settled: list[tuple[str, Observation]] = [("p1", Fetched(held.attempt, "accepted"))]
    await play.store.work.record(settled, play.rules, play.clock.now())
    outbox, sent_at = play.store.outbox, play.clock.now()
    rows = await outbox.claim(9, owner="one", now=sent_at, length=LEASE)
    failed = [Attempt(row, DeliveryState.PENDING, "http_503", sent_at + MINUTE) for row in rows]
    await outbox.record(failed, owner="one", now=sent_at)

    play.clock.wall -= DAY
    assert not await mender.tick()

    assert not await outbox.has_due(play.clock.now() + MINUTE - 1)
    assert await outbox.has_due(play.clock.now() + MINUTE)
    assert [line["deliveries"] for line in play.logged("clock_jumped_back")] == [1]


async def test_a_clock_that_has_jumped_back_is_mended_in_pieces(play: Play) -> None:
    mender = make_mender(play)
    await play.register_many([f"p{n:03}" for n in range(2 * MOST_AT_ONCE + 1)])
    play.clock.wall -= HOUR

    assert await mender.tick()
    assert await mender.tick()
    assert play.logged("clock_jumped_back") == []
    assert not await mender.tick()

    assert (await play.process("p200")).next_check_at == play.clock.now() + 15 * MINUTE
    assert [line["processes"] for line in play.logged("clock_jumped_back")] == [201]


def make_mender(play: Play) -> ClockMender:
    return ClockMender(
        play.store.work,
        play.store.outbox,
        Current(replace(in_force_with(), rules=play.rules)),
        owner="one",
        clock=play.clock,
        log=play.log,
    )
