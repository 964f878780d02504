"""Processes become due without a call: by a time-out, a downtime, or a clock that jumps."""

from collections.abc import Callable
from dataclasses import replace

from reconciler.ledger import CallFailed, Fetched, Lane, Recheck, Registration, Rules, State, Verb
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store
from tests.clock import NOW
from tests.store.conftest import LEASE, call_back, claim, get, ids_of, overdue, register

Registrations = Callable[[int], list[Registration]]
MakeReceipt = Callable[..., Receipt]


async def test_waiting_processes_turn_overdue_in_batches_and_only_when_it_is_time(
    store: Store, rules: Rules, late: int, registrations: Registrations
) -> None:
    await register(store, rules, registrations(25))
    await register(store, rules, [Registration("later", "d")], NOW + 1)
    assert await store.work.turn_overdue(rules, late - 1, 10) == []
    turned = [await store.work.turn_overdue(rules, late, 10) for _ in range(4)]
    assert [len(changes) for changes in turned] == [10, 10, 5, 0]
    states = (await store.views.counts()).states
    assert (states["overdue"], states["waiting"]) == (25, 1)
    for changes in turned:
        for _, outcome in changes:
            assert [entry.event for entry in outcome.entries] == ["process_overdue"]


async def test_a_process_with_a_recheck_turns_overdue_at_its_time_and_not_before(
    store: Store, rules: Rules, late: int
) -> None:
    await register(store, rules, [Registration("p1", "d1")])
    await store.work.record([("p1", Recheck(Verb.FETCH, "person"))], rules, NOW + 1)
    assert await store.work.turn_overdue(rules, late - 1, 10) == []
    assert (await get(store, "p1")).state is State.WAITING
    assert len(await store.work.turn_overdue(rules, late, 10)) == 1
    [held] = await claim(store, rules, late)
    assert held.lease is not None
    assert held.lease.verb is Verb.FETCH


async def test_after_a_downtime_each_waiting_process_is_owed_one_early_look(
    store: Store, rules: Rules, receipt: MakeReceipt, registrations: Registrations
) -> None:
    back = NOW + 60_000
    await overdue(
        store, rules, [Registration("late", "d")], NOW - 10 * rules.default.callback_timeout
    )
    await register(store, rules, [*registrations(25), Registration("told", "d1")])
    await call_back(store, rules, receipt("told", at=NOW + 1))
    await register(store, rules, [Registration("after", "d")], back + 1)

    marked = [await store.work.owe_catch_up(back, 10) for _ in range(5)]

    assert marked == [10, 10, 5, 0, 0]
    assert await store.work.has_due(Lane.CATCH_UP, back)
    held = await claim(store, rules, back, lanes=(Lane.CATCH_UP,))
    assert sorted(ids_of(held)) == sorted(f"p{number}" for number in range(25))
    assert {process.lease.verb for process in held if process.lease} == {Verb.FETCH}
    results = [(process.process_id, Fetched(process.attempt, "pending")) for process in held]
    await store.work.record(results, rules, back + 2)
    assert not await store.work.has_due(Lane.CATCH_UP, back + LEASE)
    assert await store.work.owe_catch_up(back + 120_000, 100) == 26, "the next downtime"


async def test_a_failed_early_look_is_not_made_again(store: Store, rules: Rules, late: int) -> None:
    await register(store, rules, [Registration("p1", "d1")])
    await store.work.owe_catch_up(NOW + 1, 10)
    [held] = await claim(store, rules, NOW + 1, lanes=(Lane.CATCH_UP,))
    await store.work.record([("p1", CallFailed(held.attempt, "http_503"))], rules, NOW + 2)
    assert not await store.work.has_due(Lane.CATCH_UP, late)
    assert (await get(store, "p1")).next_check_at == late


async def test_an_early_look_that_comes_too_late_is_left_to_the_time_out(
    store: Store, rules: Rules, late: int
) -> None:
    await register(store, rules, [Registration("p1", "d1")])
    await store.work.owe_catch_up(NOW + 1, 10)
    assert await claim(store, rules, late, lanes=(Lane.CATCH_UP,)) == []
    assert len(await store.work.turn_overdue(rules, late, 10)) == 1


async def test_a_clock_that_jumps_back_makes_nothing_wait_longer_than_before(
    store: Store, rules: Rules, late: int, registrations: Registrations
) -> None:
    jump = 30 * 86_400_000
    await register(store, rules, registrations(25), at=NOW + jump)
    await register(store, rules, [Registration("unhurt", "d")], at=NOW)
    ahead = await store.work.ahead_of(NOW)
    assert len(ahead) == 25
    assert await store.work.mend_clock(ahead, rules, NOW)
    assert await store.work.ahead_of(NOW) == []
    for process_id in ("p0", "p24", "unhurt"):
        assert (await get(store, process_id)).next_check_at == late


async def test_a_lease_from_the_future_ends_in_time_when_the_clock_jumps_back(
    store: Store, rules: Rules, late: int, registrations: Registrations
) -> None:
    await overdue(store, rules, registrations(1))
    await claim(store, rules, late + 86_400_000)
    ahead = await store.work.ahead_of(late + 5)
    assert len(ahead) == 1
    assert await store.work.mend_clock(ahead, rules, late + 5)
    assert not await store.work.has_due(Lane.OVERDUE, late + 5)
    assert await store.work.has_due(Lane.OVERDUE, late + 5 + LEASE)


async def test_a_provider_with_a_time_out_of_its_own_turns_overdue_by_that(
    store: Store, rules: Rules, late: int
) -> None:
    short = replace(rules.default, callback_timeout=1000)
    own = replace(rules, providers={"readid": short})
    await register(store, own, [Registration("p1", "d1", provider="ReadID")])
    await register(store, own, [Registration("p2", "d2")])
    assert len(await store.work.turn_overdue(own, NOW + 1000, 10)) == 1
    assert (await get(store, "p1")).state is State.OVERDUE
    assert len(await store.work.turn_overdue(own, late, 10)) == 1
