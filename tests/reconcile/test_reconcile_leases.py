"""One process, one call: leases keep instances apart, and fence off what comes late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from reconciler.ledger import State, TrackedProcess, Verb
from reconciler.ledger.policy import DAY, MINUTE

if TYPE_CHECKING:
    from tests.reconcile.stage import Instance, Play

LEASE = 20_000
"""As the fixture says: four times the timeout of a call, in ms."""


async def test_no_process_has_two_calls_in_flight_with_two_instances_on_one_store(
    play: Play, one: Instance
) -> None:
    two = await play.daemon("two")
    ids = await play.register_many([f"p{n:03}" for n in range(120)], callback="lose")
    for process_id in ids[:100]:
        play.world.finish(process_id, "accepted")
    play.world.faults.update({"server_error": 0.2, "notify_status": 409})

    for _ in range(6):
        await play.rest(15 * MINUTE)

    assert set(play.world.max_in_flight.values()) == {1}
    assert one.outcomes
    assert two.outcomes
    assert play.logged("result_dropped") == []
    states = [(await play.process(process_id)).state for process_id in ids]
    assert set(states[:100]) == {State.SETTLED}
    assert all(state.is_open for state in states[100:])


async def test_while_a_lease_is_valid_nobody_else_calls(play: Play, one: Instance) -> None:
    two = await play.daemon("two")
    await one.have_token()
    await two.have_token()
    await play.register(callback="lose")
    play.hold()
    await play.tick(15 * MINUTE)
    await play.until(lambda: play.calls("p1") == ["notify"])

    for _ in range(10):
        await play.tick(LEASE // 10 - 1)
    assert play.calls("p1") == ["notify"]

    play.let_go()
    await play.rest()
    assert play.world.max_in_flight["p1"] == 1


async def test_a_call_does_not_leave_once_another_might_make_it(play: Play) -> None:
    """We stood still between claim and call: what we thaw with is not ours any more."""
    play.set_policy(ladder=(Verb.FETCH,))
    one = await play.daemon(real_time=False)
    await one.have_token()
    await play.register(callback="lose")
    play.world.finish("p1", "accepted")
    claim = one.work.claim

    async def claim_and_stand_still(*lanes: Any, **how: Any) -> list[TrackedProcess]:
        claimed = await claim(*lanes, **how)
        play.clock.at += LEASE / 1000  # the loop has not noticed yet
        monkey.undo()
        return claimed

    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr(one.work, "claim", claim_and_stand_still)
        await play.tick(15 * MINUTE)
        await play.rest()

    settled = await play.process()
    assert (settled.state, settled.attempt) == (State.SETTLED, 2)
    assert play.calls() == ["fetch"]  # that of the second claim


async def test_when_an_instance_dies_its_lease_runs_out_and_another_takes_over(
    play: Play, one: Instance
) -> None:
    play.set_policy(ladder=(Verb.FETCH,))
    two = await play.daemon("two")
    await one.have_token()
    await two.have_token()
    await play.register(callback="lose")
    play.world.finish("p1", "rejected")
    play.hold()
    play.clock.wall += 15 * MINUTE
    await one.watch.tick()
    await play.until(lambda: play.calls("p1") == ["fetch"])
    await one.kill()
    play.let_go()

    await play.tick(LEASE - 1)
    held = (await play.process()).lease
    assert held is not None
    assert held.owner == "one"

    await play.rest(1)
    settled = await play.process()
    assert (settled.state, settled.status, settled.attempt) == (State.SETTLED, "rejected", 2)
    assert play.calls("p1") == ["fetch", "fetch"]


async def test_a_result_that_comes_after_another_instance_took_over_is_dropped(
    play: Play, one: Instance
) -> None:
    play.set_policy(ladder=(Verb.FETCH,))
    two = await play.daemon("two")
    await one.have_token()
    await two.have_token()
    await play.register(callback="lose")
    play.hold()
    play.clock.wall += 15 * MINUTE
    await one.watch.tick()
    await play.until_calls(1)  # the answer is decided on arrival: pending
    play.world.finish("p1", "accepted")
    await play.tick(LEASE)
    await play.until_calls(2)  # and now: accepted

    play.let_go()
    await play.rest()
    await play.until(lambda: len(one.outcomes) + len(two.outcomes) == 2)

    settled = await play.process()
    assert (settled.state, settled.status) == (State.SETTLED, "accepted")
    assert settled.fetch_attempts == 1
    history = await play.history()
    assert history.count("result_dropped") == 1
    assert history.count("status_fetched") == 1


async def test_a_callback_during_a_call_is_not_refuted_by_it(play: Play, one: Instance) -> None:
    play.set_policy(ladder=(Verb.FETCH,))
    await one.have_token()
    await play.register(callback="lose")
    play.hold()
    await play.tick(15 * MINUTE)
    await play.until(lambda: play.calls("p1") == ["fetch"])
    play.world.finish("p1", "accepted")
    play.clock.wall += 1
    await play.callback("p1", "accepted")

    play.let_go()
    await play.until(lambda: play.calls("p1") == ["fetch", "fetch"])
    await play.rest()
    settled = await play.process()
    assert (settled.state, settled.status) == (State.SETTLED, "accepted")
    assert play.world.max_in_flight["p1"] == 1

    await play.rest(DAY)
    assert play.calls("p1") == ["fetch", "fetch"]


async def test_calls_at_once_are_at_most_max_concurrency(play: Play) -> None:
    one = await play.daemon(max_concurrency=3)
    await one.have_token()
    await play.register_many([f"p{n:02}" for n in range(12)], callback="lose")
    play.hold()
    await play.tick(15 * MINUTE)
    await play.until_calls(3)
    for _ in range(5):
        await play.tick()
    play.let_go()
    await play.rest()
    assert play.world.log.most_at_once == 3
