"""Due processes are claimed under a lease, by one at a time, in the order of the lanes."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from typing import Any

from reconciler.ledger import (
    CallFailed,
    Lane,
    NotifyAccepted,
    Recheck,
    Registration,
    Rules,
    State,
    Verb,
)
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store, open_store
from tests.clock import NOW
from tests.store.conftest import (
    LEASE,
    PATIENCE,
    call_back,
    claim,
    get,
    ids_of,
    overdue,
    register,
)

Look = Callable[..., list[tuple[Any, ...]]]
Registrations = Callable[[int], list[Registration]]
MakeReceipt = Callable[..., Receipt]


CLAIM_ALL = """
import asyncio, json, sys
from reconciler.ledger import Lane, Rules
from reconciler.store.open import open_store

async def main(url, owner, now):
    store = await open_store(url, is_daemon=False)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    found = []
    while claimed := await store.work.claim(
        (Lane.OVERDUE,), 3, owner=owner, rules=Rules(), now=now, length=20_000
    ):
        found += [process.process_id for process in claimed]
    await store.database.close()
    print(json.dumps(found))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def test_the_lanes_are_served_in_order_and_in_each_the_longest_due_first(
    store: Store, rules: Rules, receipt: MakeReceipt
) -> None:
    await overdue(store, rules, [Registration("late-2", "d")], NOW + 2)
    await overdue(store, rules, [Registration("late-1", "d")], NOW + 1)
    await register(store, rules, [Registration("told-2", "d1"), Registration("told-1", "d1")])
    await call_back(store, rules, receipt("told-1", at=NOW + 10))
    await call_back(store, rules, receipt("told-2", at=NOW + 20))
    now = NOW + rules.default.callback_timeout + 100
    assert ids_of(await claim(store, rules, now, 3)) == ["told-1", "told-2", "late-1"]
    assert ids_of(await claim(store, rules, now, 3)) == ["late-2"]


async def test_a_claim_carries_the_call_to_make_and_is_on_the_disk(
    store: Store, rules: Rules, late: int, look: Look
) -> None:
    await overdue(store, rules, [Registration("p1", "d1")])
    [held] = await claim(store, rules, late, owner="one")
    assert held.lease is not None
    assert (held.lease.verb, held.attempt) == (Verb.NOTIFY, 1)
    lease = "SELECT attempt, lease_owner, lease_verb, lease_begun_at, lease_until FROM processes"
    assert look(lease) == [(1, "one", "notify", late, late + LEASE)]


async def test_a_lease_excludes_everybody_until_it_ends(
    store: Store, rules: Rules, late: int
) -> None:
    await overdue(store, rules, [Registration("p1", "d1")])
    [first] = await claim(store, rules, late, owner="one")
    for now in (late, late + LEASE - 1):
        assert await claim(store, rules, now, owner="two") == []
        assert not await store.work.has_due(Lane.OVERDUE, now)
    assert await store.work.has_due(Lane.OVERDUE, late + LEASE)
    [second] = await claim(store, rules, late + LEASE, owner="two")
    assert (first.attempt, second.attempt) == (1, 2)


async def test_a_result_whose_lease_somebody_else_has_taken_is_dropped_with_an_entry(
    store: Store, rules: Rules, late: int
) -> None:
    await overdue(store, rules, [Registration("p1", "d1")])
    [first] = await claim(store, rules, late, owner="one")
    [second] = await claim(store, rules, late + LEASE, owner="two")
    before = await get(store, "p1")

    await store.work.record([("p1", CallFailed(first.attempt, "timeout"))], rules, late + LEASE)

    assert await get(store, "p1") == before
    last = (await store.views.timeline("p1"))[-1]
    assert (last.event, last.fields) == ("result_dropped", {"attempt": first.attempt})
    await store.work.record([("p1", NotifyAccepted(second.attempt))], rules, late + LEASE)
    after = await get(store, "p1")
    assert (after.lease, after.notify_attempts) == (None, 1)


async def test_a_result_recorded_twice_counts_once(store: Store, rules: Rules, late: int) -> None:
    await overdue(store, rules, [Registration("p1", "d1")])
    [held] = await claim(store, rules, late)
    result = ("p1", NotifyAccepted(held.attempt))
    await store.work.record([result, result], rules, late + 1)
    once = await get(store, "p1"), await store.views.timeline("p1")
    await store.work.record([result], rules, late + 2)
    assert (await get(store, "p1"), await store.views.timeline("p1")) == once
    assert once[0].notify_attempts == 1


async def test_one_process_can_be_passed_over(
    store: Store, rules: Rules, late: int, registrations: Registrations
) -> None:
    await overdue(store, rules, registrations(2))
    assert ids_of(await claim(store, rules, late, skip="p0")) == ["p1"]
    assert await claim(store, rules, late, skip="p0") == []
    assert ids_of(await claim(store, rules, late)) == ["p0"]


async def test_no_more_is_claimed_than_there_is_room_for(
    store: Store, rules: Rules, late: int, registrations: Registrations
) -> None:
    await overdue(store, rules, registrations(5))
    assert await claim(store, rules, late, 0) == []
    assert [len(await claim(store, rules, late, 2)) for _ in range(4)] == [2, 2, 1, 0]


async def test_what_is_not_due_is_not_claimed(
    store: Store, rules: Rules, late: int, registrations: Registrations
) -> None:
    await register(store, rules, registrations(2))
    await store.work.turn_overdue(rules, late, 1)
    assert not await store.work.has_due(Lane.OVERDUE, late - 1)
    assert await claim(store, rules, late - 1) == []
    assert len(await claim(store, rules, late)) == 1


async def test_two_queues_on_two_connections_never_claim_the_same(
    store: Store, url: str, rules: Rules, late: int, registrations: Registrations
) -> None:
    await overdue(store, rules, registrations(60))
    beside = await open_store(url, is_daemon=False)

    async def claim_all(queue: Store, owner: str) -> list[str]:
        found: list[str] = []
        while claimed := await claim(queue, rules, late, 3, owner=owner):
            found += ids_of(claimed)
        return found

    found = await asyncio.gather(
        claim_all(store, "one"), claim_all(store, "two"), claim_all(beside, "three")
    )
    await beside.database.close()
    everything = [process_id for part in found for process_id in part]
    assert sorted(everything) == sorted(f"p{number}" for number in range(60))


async def test_two_processes_never_claim_the_same(
    store: Store,
    url: str,
    rules: Rules,
    late: int,
    registrations: Registrations,
    children: Callable[..., "subprocess.Popen[str]"],
) -> None:
    await overdue(store, rules, registrations(90))
    started = [children(CLAIM_ALL, url, owner, late) for owner in ("one", "two")]
    for child in started:
        assert child.stdout is not None
        assert await asyncio.to_thread(child.stdout.readline) == "ready\n"
    found = []
    for child in started:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in started:
        output, errors = await asyncio.to_thread(child.communicate, timeout=PATIENCE)
        assert child.returncode == 0, errors
        found += json.loads(output)
    assert sorted(found) == sorted(f"p{number}" for number in range(90))


async def test_a_callback_during_a_lease_makes_it_due_when_the_lease_ends(
    store: Store, rules: Rules, late: int, receipt: MakeReceipt
) -> None:
    await overdue(store, rules, [Registration("p1", "d1")])
    [held] = await claim(store, rules, late, owner="one")
    await call_back(store, rules, receipt("p1", at=late + 1))

    process = await get(store, "p1")
    assert (process.state, process.claimed_status) == (State.REPORTED, "accepted")
    assert (process.lease, process.attempt) == (held.lease, held.attempt)
    assert await claim(store, rules, late + LEASE - 1, owner="two") == []
    [again] = await claim(store, rules, late + LEASE, owner="two")
    assert again.lease is not None
    assert (again.lease.verb, again.attempt) == (Verb.FETCH, held.attempt + 1)


async def test_a_callback_during_a_lease_is_due_at_once_when_the_call_comes_back(
    store: Store, rules: Rules, late: int, receipt: MakeReceipt
) -> None:
    await overdue(store, rules, [Registration("p1", "d1")])
    [held] = await claim(store, rules, late, owner="one")
    await call_back(store, rules, receipt("p1", at=late + 1))
    await store.work.record([("p1", CallFailed(held.attempt, "timeout"))], rules, late + 2)
    assert await store.work.has_due(Lane.CONFIRM, late + 2)
    [again] = await claim(store, rules, late + 2)
    assert (again.process_id, again.state) == ("p1", State.REPORTED)


async def test_rechecking_what_is_not_on_the_ledger_leaves_nothing(
    store: Store, rules: Rules, look: Look
) -> None:
    [(_, outcome)] = await store.work.record([("p9", Recheck(None, "person"))], rules, NOW)
    assert outcome.process is None
    assert look("SELECT * FROM timeline") == []


async def test_a_process_whose_results_are_lost_is_held_back_and_does_not_stand_before_others(
    store: Store, rules: Rules, late: int
) -> None:
    await overdue(store, rules, [Registration("p1", "d1")])
    now = late + 3_600_000
    for _ in range(10):
        assert ids_of(await claim(store, rules, now, 1)) == ["p1"]
        now += LEASE
    await overdue(store, rules, [Registration("p2", "d2")], now)
    now += rules.default.callback_timeout + 1
    assert await claim(store, rules, now, 1) == []
    assert ids_of(await claim(store, rules, now, 1)) == ["p2"]
    process = await get(store, "p1")
    assert process is not None
    assert process.next_check_at == late + 3_600_000 + 3_600_000
