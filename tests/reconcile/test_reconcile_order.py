"""Urgent calls go first; a daemon that was away catches up after them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.ledger import State, Verb
from reconciler.ledger.policy import HOUR, MINUTE, SECOND

if TYPE_CHECKING:
    from tests.reconcile.stage import Instance, Play


async def away(play: Play, one: Instance, seconds: int) -> None:
    """Let the daemon begin as after an absence of so many seconds."""
    left = play.clock.now()
    play.clock.wall += seconds * SECOND
    await one.after_downtime(left)


async def test_confirmations_go_before_the_overdue_and_those_before_checks_after_downtime(
    play: Play,
) -> None:
    play.set_policy(ladder=(Verb.FETCH,))
    one = await play.daemon(rate=1, real_time=False)
    one.budget.pause(10)  # until all of it is due
    overdue = await play.register_many(["late-1", "late-2", "late-3"], callback="lose")
    play.clock.wall += 14 * MINUTE
    waiting = await play.register_many(["waiting-1", "waiting-2"], callback="lose")
    claimed = await play.register_many(["claimed-1", "claimed-2"], callback="lose")
    play.clock.wall += MINUTE
    for process_id in overdue + claimed:
        play.world.finish(process_id, "accepted")

    await one.after_downtime(play.clock.now() - MINUTE)
    await play.tick()
    for process_id in claimed:
        await play.callback(process_id, "accepted")
    assert play.calls() == []
    play.clock.flies = True
    play.clock.move(10)
    await play.rest()

    assert [process_id.split("-")[0] for process_id in play.called()] == (
        ["claimed"] * 2 + ["late"] * 3 + ["waiting"] * 2
    )
    assert set(waiting) == set(play.called()[-2:])


async def test_after_downtime_each_waiting_process_is_fetched_once_and_never_notified(
    play: Play, one: Instance
) -> None:
    lost = await play.register_many([f"lost-{n}" for n in range(5)], callback="lose")
    pending = await play.register_many([f"pending-{n}" for n in range(5)])
    before = {key: (await play.process(key)).next_check_at for key in pending}
    for process_id in lost:
        play.world.finish(process_id, "accepted")

    await away(play, one, 60)
    await play.rest()

    assert sorted(play.called()) == sorted(lost + pending)
    assert set(play.calls()) == {"fetch"}
    assert play.logged("downtime_detected")[0] == {
        "event": "downtime_detected",
        "gap_s": 60,
        "processes": 10,
    }
    for process_id in lost:
        assert (await play.process(process_id)).state is State.SETTLED
    for process_id in pending:  # it keeps its time-out
        kept = await play.process(process_id)
        assert (kept.state, kept.next_check_at) == (State.WAITING, before[process_id])


async def test_a_look_after_downtime_that_fails_is_not_repeated(play: Play, one: Instance) -> None:
    await play.register("p1")
    due = (await play.process()).next_check_at
    play.world.faults.forbidden = {"p1"}

    await away(play, one, 60)
    await play.rest()
    await play.rest(MINUTE)

    failed = await play.process()
    assert play.calls() == ["fetch"]
    assert (failed.state, failed.next_check_at, failed.catch_up) == (State.WAITING, due, False)


async def test_checks_after_downtime_get_half_of_the_budget(play: Play) -> None:
    play.clock.flies = True
    one = await play.daemon(rate=10, real_time=False)
    await play.register_many([f"p{n:02}" for n in range(40)])

    await away(play, one, 60)
    await play.rest()

    times = play.arrivals()
    assert len(times) == 40
    # Two units each; the first calls are the burst of 1.
    assert times[-1] - times[0] >= (2 * 39 - 1) / 10
    assert times[-1] - times[0] <= 2 * 40 / 10


@pytest.mark.parametrize("rate", [0.5, 1])
async def test_checks_after_downtime_get_on_where_the_budget_is_one_call(
    play: Play, rate: float
) -> None:
    play.clock.flies = True
    one = await play.daemon(rate=rate, real_time=False)
    await play.register_many(["p1", "p2", "p3"])

    await away(play, one, 60)
    await play.rest()

    assert sorted(play.called()) == ["p1", "p2", "p3"]


async def test_what_is_overdue_gets_the_whole_budget_while_checks_wait(play: Play) -> None:
    play.set_policy(ladder=(Verb.FETCH,))
    one = await play.daemon(rate=10, real_time=False)
    one.budget.pause(10)
    await play.register_many([f"late-{n:02}" for n in range(20)])
    play.clock.wall += 15 * MINUTE
    await play.register_many([f"waiting-{n:02}" for n in range(5)])
    await one.after_downtime(play.clock.now() - MINUTE)
    await play.tick()

    play.clock.flies = True
    play.clock.move(10)
    await play.rest()

    assert {process_id.split("-")[0] for process_id in play.called()[:20]} == {"late"}
    times = play.arrivals()
    assert times[19] - times[0] <= 20 / 10


async def test_what_comes_up_meanwhile_goes_before_the_checks_that_are_left(play: Play) -> None:
    play.set_policy(ladder=(Verb.FETCH,))
    one = await play.daemon(rate=1, real_time=False)
    await play.register_many([f"p{n:02}" for n in range(30)])
    await play.register("claimed", callback="lose")
    play.world.finish("claimed", "accepted")
    await away(play, one, 60)
    await play.until(lambda: play.logged("downtime_detected"))

    play.clock.flies = True
    await play.until_calls(2)
    play.clock.flies = False
    seen = len(play.calls())
    await play.callback("claimed", "accepted")
    play.clock.flies = True
    play.clock.move(1.0)
    await play.rest()

    # Beside those that were seen one may have been on its way, and one chosen.
    assert play.called().index("claimed") <= seen + 2
    assert len(play.called()) == 31


async def test_a_process_that_turns_overdue_before_its_check_climbs_the_ladder_instead(
    play: Play,
) -> None:
    await play.register(callback="lose")
    play.world.finish("p1", "accepted")
    play.clock.wall += HOUR
    one = await play.daemon()
    await one.after_downtime(play.clock.now() - HOUR)
    await play.rest(0)
    await play.rest(2 * MINUTE)

    assert play.calls()[0] == "notify"
    assert (await play.process()).state is State.SETTLED


async def test_a_short_absence_is_no_downtime(play: Play, one: Instance) -> None:
    await play.register("p1")
    await away(play, one, 30)
    await play.rest()
    assert play.calls() == []
    assert play.logged("downtime_detected") == []

    await one.after_downtime(None)  # a new store: nobody was ever there
    await play.rest()
    assert play.calls() == []

    # The store was away, and callbacks went to our spool meanwhile.
    await one.after_downtime(play.clock.now() - HOUR, up_for=HOUR - 30_000)
    await play.rest()
    assert play.calls() == []

    await one.after_downtime(play.clock.now() - 30_001)
    await play.rest()
    assert play.calls() == ["fetch"]
