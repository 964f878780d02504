import random

import pytest

from reconciler.simulator import FaultError, Faults, World
from reconciler.simulator.calls import KEPT


def ids(world: World) -> list[str]:
    return [world.add().process_id for _ in range(20)]


def test_the_same_seed_makes_the_same_processes() -> None:
    assert ids(World(seed=1)) == ids(World(seed=1))
    assert ids(World(seed=1)) != ids(World(seed=2))


def play(seed: int, order: int) -> dict[str, tuple[str, int, list[tuple[str, str]]]]:
    """Finish the same processes in some order; what became of each."""
    world = World(
        seed,
        faults=Faults(lose_callbacks=0.4, wrong_claim=0.4, duplicate_callbacks=0.4),
    )
    made = [world.add(process_id=f"p{n}", dossier_id="d") for n in range(40)]
    random.Random(order).shuffle(made)
    for process in made:
        world.finish(process.process_id)
    callbacks = [(c.process_id, c.status) for c in world.due()]
    return {
        p.process_id: (p.status, p.callbacks_lost, [c for c in callbacks if c[0] == p.process_id])
        for p in made
    }


def test_fate_depends_on_the_seed_and_not_on_the_order_of_events() -> None:
    assert play(seed=5, order=1) == play(seed=5, order=2)
    assert play(seed=5, order=1) != play(seed=6, order=1)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_share_is_hit_about_so_often(share: float) -> None:
    world = World(faults=Faults(server_error=share))

    hits = sum(world.hits("server_error", "p", ordinal) for ordinal in range(5000))

    assert hits == pytest.approx(5000 * share, rel=0.1)


def test_a_larger_share_hits_all_that_a_smaller_one_hits() -> None:
    small, large = World(faults=Faults(hang=0.2)), World(faults=Faults(hang=0.6))

    assert all(large.hits("hang", "p", n) for n in range(500) if small.hits("hang", "p", n))


def test_made_up_statuses_are_final_and_mostly_accepted() -> None:
    world = World()
    statuses = [world.finish(process_id).status for process_id in ids(world)]

    assert set(statuses) <= {"accepted", "rejected", "inconclusive", "canceled", "failed"}
    assert statuses.count("accepted") >= 6


def test_a_process_id_is_unique() -> None:
    world = World()
    world.add(process_id="p")

    with pytest.raises(ValueError, match="there already"):
        world.add(process_id="p")


def test_finishing_twice_with_the_same_status_is_an_error() -> None:
    world = World()
    world.finish(world.add(process_id="p").process_id, "accepted")

    with pytest.raises(ValueError, match="accepted already"):
        world.finish("p")
    with pytest.raises(KeyError):
        world.finish("unknown")


def test_a_process_finished_by_hand_does_not_finish_again_by_itself() -> None:
    world = World()
    process = world.add(finish_in=0, final_status="accepted")
    world.finish(process.process_id, "rejected")

    assert [callback.status for callback in world.due()] == ["rejected"]
    assert process.status == "rejected"
    assert world.due() == []


def test_the_record_of_calls_is_bounded_and_the_counters_are_not() -> None:
    log = World().log

    for _ in range(KEPT + 10):
        log.end(log.begin("fetch", "p"), 200)

    assert len(log.entries) <= KEPT
    assert log.count("fetch") == KEPT + 10


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        (
            {"server_eror": 1},
            r"unknown knob 'server_eror' \(did you mean server_error\?\); known: ",
        ),
        ({"lose_callbacks": 1.01}, "lose_callbacks: 1.01 is not a number from 0 to 1"),
        ({"hang": True}, "hang: True is not a number from 0 to 1"),
        ({"latency": -1}, "latency: -1 is not seconds, 0 or more"),
        ({"latency": float("nan")}, "latency: nan is not seconds"),
        ({"unauthorized_once": 1.5}, "unauthorized_once: 1.5 is not a whole number, 0 or more"),
        ({"down": 1}, "down: 1 is not true or false"),
        ({"retry_after": "1\r\nSet-Cookie: x"}, "retry_after: .* is not printable text"),
        ({"forbidden": "p"}, "forbidden: 'p' is not a list of process ids"),
        ({"notify_status": 100}, "notify_status: 100 is not null or an HTTP status"),
    ],
)
def test_a_knob_refuses_what_it_does_not_take(knobs: dict[str, object], message: str) -> None:
    faults = Faults()

    with pytest.raises(FaultError, match=message):
        faults.update({"drop": True, **knobs})

    assert faults == Faults(), "an update is taken whole or not at all"


def test_a_wrong_share_is_refused_by_the_constructor_too() -> None:
    with pytest.raises(FaultError, match="throttle"):
        Faults(throttle=2)
