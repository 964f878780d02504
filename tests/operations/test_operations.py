"""The operations of API and command line: the change, its timeline entries, its log lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler import operations
from reconciler.ledger import Registration, Verb
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.inbox import Receipt
from reconciler.store.outbox import Attempt

if TYPE_CHECKING:
    from tests.operations.conftest import Bench


def registration(process_id: str, dossier_id: str = "d") -> Registration:
    return Registration(process_id, dossier_id, by="ada")


async def test_a_registration_is_logged_and_is_no_action_of_an_operator(bench: Bench) -> None:
    done = await operations.register(bench.actor, [registration("p1"), registration("p2")])

    assert (done.created, done.known) == (2, 0)
    assert bench.logged() == [("process_registered", "p1"), ("process_registered", "p2")]
    assert await bench.entries("p1") == [("process_registered", {"by": "ada"})]


async def test_a_conflict_registers_none_of_them_and_logs_nothing(bench: Bench) -> None:
    await operations.register(bench.actor, [registration("p1")])
    bench.logged()

    done = await operations.register(bench.actor, [registration("p0"), registration("p1", "x")])
    tracked = await operations.track(bench.actor, registration("p1", "x"))

    assert done.conflicts == (1,)
    assert tracked.conflicts == (0,)
    assert bench.logged() == []
    assert await bench.entries("p0") == []


async def test_to_track_is_to_register_as_an_operator(bench: Bench) -> None:
    await operations.track(bench.actor, registration("p1"))

    assert bench.logged() == [("process_registered", "p1"), ("operator_action", "p1")]
    assert await bench.actions() == [("register", "p1")]


async def test_a_registration_by_the_application_is_no_action(bench: Bench) -> None:
    await operations.register(bench.actor, [registration("p1")])

    assert await bench.actions() == []


async def test_each_recheck_is_an_action_and_one_of_all_overdue_is_one(bench: Bench) -> None:
    await operations.register(bench.actor, [registration("p1"), registration("p2")])

    await operations.recheck(bench.actor, ["p2", "nobody", "p1"], None)
    await operations.recheck_overdue(bench.actor, Verb.FETCH)

    assert await bench.actions() == [("recheck", "p2"), ("recheck", "p1"), ("recheck", None)]


async def test_what_is_forgotten_is_taken_out_of_older_actions(bench: Bench) -> None:
    await operations.track(bench.actor, registration("p1"))
    await operations.track(bench.actor, registration("p2"))

    assert await operations.forget(bench.actor, "p1")

    assert await bench.actions() == [("register", None), ("register", "p2"), ("forget", None)]


async def test_an_import_logs_what_it_brings_about_but_not_each_registration(bench: Bench) -> None:
    held_back = Receipt("r1", bench.clock.now(), "p1", "d", "accepted", (), bytes(32))
    await bench.actor.store.inbox.put_many([held_back])
    await bench.actor.store.inbox.apply([held_back], bench.actor.rules, bench.clock.now())

    done = await operations.import_batch(
        bench.actor,
        [registration("p1"), registration("p1", "x"), registration("p2")],
        bench.actor.note("import", counting="processes"),
        whole=False,
    )

    assert (done.created, done.known, done.conflicts) == (2, 0, (1,))
    told = bench.logged()
    assert ("process_settled", "p1") in told
    assert "process_registered" not in [event for event, _ in told]


async def test_a_recheck_tells_of_those_that_are_unknown_and_counts_each_once(
    bench: Bench,
) -> None:
    await operations.register(bench.actor, [registration("p1"), registration("p2")])
    bench.logged()

    done = await operations.recheck(
        bench.actor, ["p2", "nobody", "p1", "p2", "..", "\udcff"], Verb.FETCH
    )

    assert (done.due, done.unknown) == (2, ("nobody", "..", "\udcff"))
    assert bench.logged() == [("operator_action", "p2"), ("operator_action", "p1")]
    asked = {"action": "recheck", "by": "ada", "verb": "fetch"}
    assert (await bench.entries("p1"))[-1] == ("operator_action", asked)


async def test_what_is_forgotten_is_logged_without_its_id(bench: Bench) -> None:
    await operations.register(bench.actor, [registration("p1")])
    bench.logged()

    assert await operations.forget(bench.actor, "p1")
    assert not await operations.forget(bench.actor, "p1")
    assert not await operations.forget(bench.actor, "..")

    assert bench.logged() == [("operator_action", None)]
    assert await bench.entries("p1") == []
    assert await bench.actions() == [("forget", None)]


async def test_a_delivery_is_sent_again_once_and_an_unknown_one_is_told(bench: Bench) -> None:
    await bench.settle("p1", "p2")
    claimed = await bench.actor.store.outbox.claim(
        10, owner="me", now=bench.clock.now(), length=1000
    )
    dead = [Attempt(row, DeliveryState.DEAD, "http_410") for row in claimed]
    await bench.actor.store.outbox.record(dead, owner="me", now=bench.clock.now())
    ids = [row.webhook_id for row in claimed]

    none = await operations.redeliver(bench.actor, ["nothing"])
    assert (none.due, none.unknown, bench.logged()) == (0, ("nothing",), [])
    one = await operations.redeliver(bench.actor, [ids[0], "nothing", ids[0]])

    assert (one.due, one.unknown) == (1, ("nothing",))
    assert bench.log.entries[-1]["deliveries"] == 1
    assert [(key, state) for key, state, _ in await bench.deliveries()] == [
        ("p2", "dead"),
        ("p1", "pending"),
    ]
    assert (await operations.redeliver_dead(bench.actor)).due == 1
    assert {state for _, state, _ in await bench.deliveries()} == {"pending"}


async def test_results_since_a_moment_are_delivered_again(bench: Bench) -> None:
    await bench.settle("p1", "p2", "p3")
    since = bench.clock.now() - 1000
    bench.clock.move(60)

    done = await operations.redeliver_since(bench.actor, since)

    now = bench.clock.now()
    assert done.due == 2
    assert [key for key, _, due in await bench.deliveries() if due == now] == ["p3", "p2"]
    [line] = [line for line in bench.log.entries if line["event"] == "operator_action"]
    assert (line["action"], line["by"], line["deliveries"]) == ("redeliver", "ada", 2)
