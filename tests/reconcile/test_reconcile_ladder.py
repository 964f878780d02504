"""The main job: a callback that did not come is noticed, asked for again, and replaced."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.ledger import Backoff, Policy, SettledBy, State, Verb
from reconciler.ledger.policy import DAY, HOUR, MINUTE, SECOND

if TYPE_CHECKING:
    from tests.reconcile.stage import Instance, Play


async def test_a_lost_callback_is_noticed_asked_for_again_and_then_replaced_by_get_process(
    play: Play, one: Instance
) -> None:
    await play.register(callback="lose", notified="lose")
    play.world.finish("p1", "rejected")

    await play.rest(15 * MINUTE - 1)
    assert play.calls() == []
    assert (await play.process()).state is State.WAITING

    await play.rest(1)
    assert play.calls() == ["notify"]
    overdue = await play.process()
    assert (overdue.state, overdue.next_check_at) == (State.OVERDUE, play.clock.now() + 2 * MINUTE)

    await play.rest(2 * MINUTE - 1)
    assert play.calls() == ["notify"]

    await play.rest(1)
    assert play.calls() == ["notify", "fetch"]
    settled = await play.process()
    assert (settled.state, settled.status) == (State.SETTLED, "rejected")
    assert (settled.settled_by, settled.next_check_at) == (SettledBy.FETCH, None)
    assert (settled.notify_attempts, settled.fetch_attempts) == (1, 1)
    assert await play.history() == [
        "process_registered",
        "process_overdue",
        "notify_requested",
        "status_fetched",
        "process_settled",
    ]


async def test_a_callback_that_notify_brings_is_confirmed_and_settles_by_notify(
    play: Play, one: Instance
) -> None:
    await play.register(callback="lose", notified="send")
    play.world.finish("p1", "accepted")

    await play.tick(15 * MINUTE)
    await play.until(lambda: play.calls() == ["notify", "fetch"])
    await play.rest()

    settled = await play.process()
    assert (settled.state, settled.status) == (State.SETTLED, "accepted")
    assert settled.settled_by is SettledBy.NOTIFY
    assert play.world.processes["p1"].callbacks_sent == 1


async def test_a_callback_in_time_is_confirmed_at_once_and_nothing_is_overdue(
    play: Play, one: Instance
) -> None:
    await play.register()
    play.clock.wall += MINUTE
    play.world.finish("p1", "accepted")

    await play.until(lambda: play.calls() == ["fetch"])
    await play.rest()
    settled = await play.process()
    assert (settled.state, settled.settled_by) == (State.SETTLED, SettledBy.CALLBACK)

    await play.rest(DAY)
    assert play.calls() == ["fetch"]
    assert "process_overdue" not in await play.history()


async def test_a_pending_process_goes_back_to_waiting_and_is_from_then_on_only_fetched(
    play: Play, one: Instance
) -> None:
    await play.register(callback="lose")

    await play.rest(15 * MINUTE)
    assert play.calls() == ["notify", "fetch"]
    waiting = await play.process()
    assert waiting.state is State.WAITING
    assert waiting.next_check_at == play.clock.now() + 5 * MINUTE

    await play.rest(5 * MINUTE)
    await play.rest(10 * MINUTE)
    assert play.calls() == ["notify", "fetch", "fetch", "fetch"]

    play.world.finish("p1", "failed")
    await play.rest(20 * MINUTE)
    settled = await play.process()
    assert (settled.status, settled.settled_by) == ("failed", SettledBy.FETCH)
    assert (await play.history()).count("process_overdue") == 1


async def test_a_process_that_never_finishes_expires_after_give_up_after(
    play: Play, one: Instance
) -> None:
    play.set_policy(give_up_after=8 * HOUR)
    await play.register()
    began = play.clock.now()

    while (process := await play.process()).next_check_at is not None:
        assert play.clock.now() < began + 8 * HOUR
        await play.rest(process.next_check_at - play.clock.now())

    assert process.state is State.EXPIRED
    assert play.clock.now() - began < 9 * HOUR
    assert play.calls()[:2] == ["notify", "fetch"]
    assert set(play.calls()[2:]) == {"fetch"}


async def test_the_settings_of_a_provider_are_those_of_its_processes(
    play: Play, one: Instance
) -> None:
    quick = Policy(
        callback_timeout=5 * MINUTE, ladder=(Verb.FETCH,), backoff=Backoff(SECOND, jitter=0)
    )
    play.set_rules(replace(play.rules, providers={"readid": quick}))
    await play.register("slow", provider="onfido")
    await play.register("quick", provider="readid")

    await play.rest(5 * MINUTE)
    assert play.called() == ["quick"]
    assert play.calls() == ["fetch"]
    assert (await play.process("quick")).next_check_at == play.clock.now() + SECOND

    await play.rest(10 * MINUTE)
    assert play.calls("slow") == ["notify", "fetch"]


@pytest.mark.fault("Assure", "does not know the process", "process_gone")
async def test_a_second_404_one_backoff_later_makes_a_process_gone_once_the_path_is_proven(
    play: Play, one: Instance
) -> None:
    play.set_policy(ladder=(Verb.FETCH,))
    await play.register("good", callback="lose")
    await play.register("deleted")
    play.world.finish("good", "accepted")
    play.world.faults.missing = {"deleted"}
    await play.callback("good", "accepted")
    await play.rest()
    assert (await play.process("good")).state is State.SETTLED

    await play.rest(15 * MINUTE)
    once = await play.process("deleted")
    assert (once.state, once.last_error) == (State.OVERDUE, "http_404")
    assert once.next_check_at == play.clock.now() + 5 * MINUTE

    await play.rest(5 * MINUTE)
    assert (await play.process("deleted")).state is State.GONE
    assert play.calls("deleted") == ["fetch", "fetch"]
    assert play.logged("assure_path_suspect") == []


@pytest.mark.fault("Assure", "answers 404 to everything", "assure_path_suspect")
async def test_before_get_process_has_ever_answered_200_a_404_only_says_that_the_path_is_suspect(
    play: Play, one: Instance
) -> None:
    play.set_policy(ladder=(Verb.FETCH,))
    await play.register_many(["p1", "p2", "p3"])
    play.world.faults.missing = {"p1", "p2", "p3"}

    await play.rest(15 * MINUTE)
    for _ in range(8):
        await play.rest(HOUR)

    for process_id in ("p1", "p2", "p3"):
        assert (await play.process(process_id)).state is State.OVERDUE
    await one.stop()
    assert len(play.logged("assure_path_suspect")) == 9  # once for each time they were looked at
    assert one.breaker.state == "closed"
    assert "process_gone" not in await play.history()
