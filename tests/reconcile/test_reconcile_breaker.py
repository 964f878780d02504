"""When Assure as a whole does not answer: nothing is claimed or spent, one probe at a time."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from reconciler.ledger import State, Verb
from reconciler.ledger.policy import DAY, MINUTE, SECOND

if TYPE_CHECKING:
    from tests.reconcile.stage import Instance, Play


async def opened(
    play: Play, processes: int, *, rate: float = 1000.0, max_concurrency: int = 16
) -> tuple[Instance, list[str]]:
    """A daemon whose breaker has just opened over ``processes`` overdue ones."""
    play.set_policy(ladder=(Verb.FETCH,))
    one = await play.daemon(real_time=False, rate=rate, max_concurrency=max_concurrency)
    ids = await play.register_many([f"p{n:03}" for n in range(processes)], callback="lose")
    for process_id in ids:
        play.world.finish(process_id, "accepted")
    play.world.faults.down = True
    await play.tick(15 * MINUTE)
    await play.until(lambda: one.breaker.state == "open")
    return one, ids


async def no_call_is_out(play: Play, one: Instance) -> None:
    await play.until(lambda: one.outcomes and len(one.outcomes) == len(play.calls()))


async def test_five_failures_over_different_processes_open_it_and_then_nothing_is_spent(
    play: Play,
) -> None:
    one, ids = await opened(play, 40, max_concurrency=1)
    await no_call_is_out(play, one)

    for _ in range(20):
        await play.tick(SECOND)

    assert len(play.calls()) == 5
    attempts = [(await play.process(process_id)).attempt for process_id in ids]
    assert sorted(attempts) == [0] * 35 + [1] * 5
    assert [line["reason"] for line in play.logged("breaker_opened")] == ["http_503"]


async def test_processes_still_turn_overdue_while_it_is_open(play: Play) -> None:
    one, _ = await opened(play, 5)
    await no_call_is_out(play, one)
    await play.register("late")

    await play.tick(15 * MINUTE)

    late = await play.process("late")
    assert (late.state, late.attempt) == (State.OVERDUE, 0)
    assert one.breaker.state == "open"


async def test_each_probe_takes_another_process_than_the_last_and_waits_twice_as_long(
    play: Play,
) -> None:
    one, _ = await opened(play, 8)
    await no_call_is_out(play, one)
    before = len(play.calls())

    for wait in (1, 2, 4, 8, 16):
        assert one.probes_in(wait)
        play.clock.move(wait)
        await play.tick(DAY)  # so that every process is due again
        await play.until(partial(one.probes_in, min(2 * wait, 60)))
        await no_call_is_out(play, one)

    probed = play.called()[before:]
    assert len(probed) == 5
    assert all(last != this for last, this in pairwise(probed))


async def test_the_last_probe_is_passed_over_even_if_it_has_been_due_for_longer(play: Play) -> None:
    one, ids = await opened(play, 5)
    await no_call_is_out(play, one)
    for process_id in ids[1:]:
        await play.store.registry.forget(process_id, "test", play.clock.now())
    await play.register("other")

    for wait in (1, 2):  # p000 fails again, and is due before the other one
        play.clock.move(wait)
        await play.tick(10 * MINUTE)
        await play.until(partial(one.probes_in, 2 * wait))
        await no_call_is_out(play, one)

    assert play.called()[-2:] == [ids[0], "other"]


async def test_the_only_process_there_is_is_probed_again(play: Play) -> None:
    one, ids = await opened(play, 5)
    await no_call_is_out(play, one)
    for process_id in ids[1:]:
        await play.store.registry.forget(process_id, "test", play.clock.now())

    for wait in (1, 2, 4):
        play.clock.move(wait)
        await play.tick(DAY)
        await play.until(partial(one.probes_in, 2 * wait))
        await no_call_is_out(play, one)

    assert play.called()[-3:] == ids[:1] * 3


async def test_a_probe_that_succeeds_lets_the_backlog_go_within_the_budget(play: Play) -> None:
    play.clock.flies = True  # through every wait for the budget
    one, ids = await opened(play, 60, rate=20)
    await no_call_is_out(play, one)
    play.world.faults.down = False
    arrived = len(play.calls())

    play.clock.move(1.0)
    await play.rest(30 * SECOND)

    assert [line["event"] for line in play.logged("breaker_closed")] == ["breaker_closed"]
    states = {(await play.process(process_id)).state for process_id in ids}
    assert states == {State.SETTLED}
    times = play.arrivals()[arrived:]
    assert len(times) == 60
    for begin in times:
        assert sum(begin <= at < begin + 1.0 for at in times) <= 22


async def test_one_process_that_always_fails_never_opens_it(play: Play, one: Instance) -> None:
    await play.register()
    play.world.faults.forbidden = {"p1"}

    await play.rest(15 * MINUTE)
    while len(one.outcomes) < 20:
        due = (await play.process()).next_check_at
        assert due is not None
        await play.rest(due - play.clock.now())

    assert one.breaker.state == "closed"
    assert (await play.process()).state is State.OVERDUE


async def test_a_breaker_that_opens_while_the_budget_is_waited_for_lets_nothing_be_claimed(
    play: Play,
) -> None:
    play.set_policy(ladder=(Verb.FETCH,))
    one = await play.daemon(rate=1, real_time=False)
    await play.register_many(["p1", "p2"], callback="lose")
    await play.tick(15 * MINUTE)
    await play.until(lambda: len(one.outcomes) == 1)  # and the next unit is waited for

    play.clock.move(0.9)
    one.breaker.trip("http_401")
    play.clock.move(0.1)
    for _ in range(20):
        await play.tick()
    assert len(play.calls()) == 1
    play.clock.flies = True
    before = play.clock.monotonic()
    await one.budget.take()
    assert play.clock.monotonic() - before < 0.1  # the unit was given back
