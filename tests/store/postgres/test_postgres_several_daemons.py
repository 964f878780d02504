"""Several daemons on one store do each thing once, without an error."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from reconciler.ledger import Lane, Registration, Rules, State
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store, open_store
from tests.clock import NOW
from tests.postgres import Databases
from tests.store.conftest import LEASE, PATIENCE, claim, get, ids_of, overdue, register

Look = Callable[..., list[tuple[Any, ...]]]
MakeReceipt = Callable[..., Receipt]
EVENTS = "SELECT process_id, event FROM timeline ORDER BY process_id, id"


@pytest.fixture
def kind() -> str:
    """SQLite has one daemon."""
    return "postgresql"


@pytest.fixture
async def other(url: str) -> AsyncIterator[Store]:
    """The same store, opened by a second daemon."""
    opened = await open_store(url, is_daemon=True)
    yield opened
    await opened.database.close()


class Stopped:
    """A locked table, at which transactions stop."""

    def __init__(self, look: Look, connection: "psycopg.AsyncConnection[Any]") -> None:
        self._look = look
        self._connection = connection

    async def waiting(self, number: int) -> None:
        """Return when this number of transactions wait for a lock."""
        query = (
            "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        async with asyncio.timeout(PATIENCE):
            while self._look(query) != [(number,)]:
                await asyncio.sleep(0.01)

    async def go_on(self) -> None:
        await self._connection.rollback()


@pytest.fixture
def stop_at(look: Look, databases: Databases, database: str) -> Any:
    @asynccontextmanager
    async def stop_at(table: str) -> AsyncIterator[Stopped]:
        connection = await psycopg.AsyncConnection.connect(databases.url(database))
        async with connection:
            await connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            yield Stopped(look, connection)

    return stop_at


async def test_the_same_new_processes_registered_at_once_are_created_once(
    store: Store, other: Store, rules: Rules, look: Look
) -> None:
    batch = [Registration(f"p{number}", "d") for number in range(60)]
    done = await asyncio.gather(
        *(
            daemon.registry.register(part, rules, NOW, whole=True)
            for part in (batch, batch[::-1], batch[20:])
            for daemon in (store, other)
        )
    )
    assert sum(result.created for result in done) == 60
    assert sum(result.created + result.known for result in done) == 320
    assert look("SELECT count(*), count(DISTINCT process_id) FROM timeline") == [(60, 60)]


async def test_callbacks_for_the_same_unknown_process_are_adopted_once_and_all_applied(
    store: Store, other: Store, rules: Rules, look: Look, receipt: MakeReceipt, stop_at: Any
) -> None:
    one, two = receipt("p1"), receipt("p1", at=NOW + 1)
    await store.inbox.put_many([one, two])
    async with stop_at("timeline") as stopped:
        tasks = [
            asyncio.create_task(store.inbox.apply([one], rules, NOW)),
            asyncio.create_task(other.inbox.apply([two], rules, NOW)),
        ]
        await stopped.waiting(2)
        await stopped.go_on()
    assert [len(await task) for task in tasks] == [1, 1]
    assert look(EVENTS) == [("p1", "callback_applied")] * 2
    assert (await get(store, "p1")).state is State.REPORTED


@pytest.mark.parametrize("first", ["callback", "registration"])
async def test_a_registration_and_its_callback_find_each_other_whoever_comes_first(
    store: Store,
    other: Store,
    rules: Rules,
    look: Look,
    receipt: MakeReceipt,
    stop_at: Any,
    first: str,
) -> None:
    """A missing row cannot be locked, so the two must not both find none."""
    ignoring = replace(rules, adopt_unknown=False)
    await store.inbox.put_many([callback := receipt("p1", dossier_id="d1")])

    def applying() -> Any:
        return store.inbox.apply([callback], ignoring, NOW)

    def registering() -> Any:
        return register(other, ignoring, [Registration("p1", "d1")])

    works = [applying, registering] if first == "callback" else [registering, applying]
    async with stop_at("timeline") as stopped:
        tasks = []
        for number, work in enumerate(works):
            tasks.append(asyncio.create_task(work()))
            await stopped.waiting(number + 1)
        await stopped.go_on()
    await asyncio.gather(*tasks)
    assert look("SELECT outcome FROM callbacks") == [("applied",)]
    assert (await get(store, "p1")).claimed_status == "accepted"


async def test_callbacks_that_two_recover_at_once_are_applied_once_each(
    store: Store, other: Store, rules: Rules, look: Look, receipt: MakeReceipt
) -> None:
    receipts = [receipt(f"p{number % 40}", at=NOW + number) for number in range(200)]
    await store.inbox.put_many(receipts)

    async def recover(daemon: Store) -> int:
        applied = 0
        last = None
        while found := await daemon.inbox.unapplied(NOW + 999, 25, after=last):
            applied += len(await daemon.inbox.apply(found, rules, NOW))
            last = found[-1]
        return applied

    done = await asyncio.gather(recover(store), recover(other), recover(store))
    assert sum(done) == 200
    assert look("SELECT count(*) FROM timeline WHERE event = 'callback_applied'") == [(200,)]
    assert look("SELECT count(*) FROM callbacks WHERE outcome IS NULL") == [(0,)]


async def test_a_callback_that_a_dying_daemon_left_half_applied_is_found_by_another(
    store: Store,
    other: Store,
    rules: Rules,
    look: Look,
    receipt: MakeReceipt,
    stop_at: Any,
    database: str,
) -> None:
    await store.inbox.put_many([callback := receipt("p1")])
    async with stop_at("timeline") as stopped:
        dying = asyncio.create_task(store.inbox.apply([callback], rules, NOW))
        await stopped.waiting(1)
        look(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = ? AND wait_event_type = 'Lock'",
            database,
        )
        await asyncio.gather(dying, return_exceptions=True)
        assert dying.exception() is not None
    assert await other.inbox.unapplied(NOW, 9) == [callback]
    assert len(await other.inbox.apply([callback], rules, NOW)) == 1
    assert look(EVENTS) == [("p1", "callback_applied")]


async def test_a_claim_passes_over_what_another_is_claiming_just_now(
    store: Store, other: Store, rules: Rules, late: int, stop_at: Any
) -> None:
    await overdue(store, rules, [Registration(f"p{number}", "d") for number in range(6)])
    async with store.database.write() as connection:
        held = await connection.exec_driver_sql(
            "SELECT process_id FROM processes WHERE process_id < 'p3' FOR UPDATE"
        )
        assert len(held.all()) == 3
        assert sorted(ids_of(await claim(other, rules, late, 6))) == ["p3", "p4", "p5"]
    assert sorted(ids_of(await claim(other, rules, late, 6))) == ["p0", "p1", "p2"]


async def test_many_daemons_claim_register_and_apply_without_an_error_and_nothing_twice(
    store: Store, other: Store, rules: Rules, late: int, look: Look, receipt: MakeReceipt
) -> None:
    await overdue(store, rules, [Registration(f"p{number}", "d1") for number in range(60)])
    callbacks = [receipt(f"p{number}", at=NOW + number) for number in range(0, 60, 2)]
    await store.inbox.put_many(callbacks)
    claimed: list[str] = []

    async def claim_all(daemon: Store, owner: str) -> None:
        while found := await daemon.work.claim(
            (Lane.OVERDUE,), 4, owner=owner, rules=rules, now=late, length=LEASE
        ):
            claimed.extend(ids_of(found))

    async def apply_all(daemon: Store, part: list[Receipt]) -> None:
        for start in range(0, len(part), 7):
            await daemon.inbox.apply(part[start : start + 7], rules, late)

    batch = [Registration(f"p{number}", "d1", reference="r") for number in range(90)]
    await asyncio.gather(
        claim_all(store, "one"),
        claim_all(other, "two"),
        apply_all(store, callbacks),
        apply_all(other, callbacks[::-1]),
        store.registry.register(batch, rules, late, whole=True),
        other.registry.register(batch[::-1], rules, late, whole=True),
        *(store.registry.forget(f"p{number}", "me", late) for number in range(50, 55)),
    )
    assert len(claimed) == len(set(claimed))
    applied = "SELECT process_id FROM timeline WHERE event = 'callback_applied'"
    assert len(look(applied)) == len(set(look(applied)))
    assert look("SELECT count(*) FROM callbacks WHERE outcome IS NULL") == [(0,)]


async def test_maintenance_is_one_daemons_at_a_time(
    store: Store, other: Store, rules: Rules, look: Look
) -> None:
    await register(store, rules, [Registration(f"p{number}", "d") for number in range(30)])
    async with store.database.write() as connection:
        key = "hashtextextended('reconciler.catch_up', 0)"
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({key})")
        assert await other.work.owe_catch_up(NOW, 10) is None
        key = "hashtextextended('reconciler.mend_clock', 0)"
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({key})")
        assert not await other.work.mend_clock(["p1"], rules, NOW - 10)
    done = await asyncio.gather(*(one.work.owe_catch_up(NOW, 10) for one in (store, other)))
    rest = [await store.work.owe_catch_up(NOW, 10) for _ in range(4)]
    assert sum(number or 0 for number in (*done, *rest)) == 30
    assert look("SELECT count(*) FROM processes WHERE catch_up") == [(30,)]


async def test_a_thousand_new_processes_take_a_few_dozen_locks(
    store: Store, rules: Rules, look: Look, stop_at: Any
) -> None:
    """The server's lock table has some thousand in all."""
    batch = [Registration(f"p{number}", "d") for number in range(1000)]
    async with stop_at("timeline") as stopped:
        task = asyncio.create_task(store.registry.register(batch, rules, NOW, whole=True))
        await stopped.waiting(1)
        [(held,)] = look("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        await stopped.go_on()
    assert (await task).created == 1000
    assert 0 < held <= 64
