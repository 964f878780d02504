"""Each transaction ends, also when the server hangs, and leaves no session state."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from reconciler.ledger import Registration, Rules
from reconciler.store.errors import StoreUnavailableError
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store, open_store, prepare
from reconciler.store.postgres import database as postgres
from tests.postgres import FAST, Databases, Server, running_server
from tests.store.conftest import PATIENCE, register

Look = Callable[..., list[tuple[Any, ...]]]
MakeReceipt = Callable[..., Receipt]


@pytest.fixture
def kind() -> str:
    """The connections are PostgreSQL's."""
    return "postgresql"


@pytest.fixture(scope="module")
def frail() -> Iterator[Server]:
    """A server of our own, which the tests stop and freeze."""
    with running_server(*FAST) as server:
        yield server


@pytest.fixture
def frail_url(frail: Server) -> str:
    url = frail.url(frail.create())
    prepare(url, may_create=True, may_migrate=True)
    return url


async def driver_of(store: Store) -> Any:
    async with store.database.write() as connection:
        return (await connection.get_raw_connection()).driver_connection


async def test_a_server_that_hangs_is_left_alone_and_used_again_when_it_answers(
    frail: Server, frail_url: str, receipt: MakeReceipt, rules: Rules
) -> None:
    store = await open_store(frail_url, is_daemon=True)
    await store.inbox.put_many([one := receipt("p1")])
    await store.inbox.apply([one], rules, 1)
    frail.freeze()
    try:
        async with asyncio.timeout(PATIENCE):
            errors = await asyncio.gather(
                store.inbox.put_many([receipt("p2")]),
                store.key_values.put("a", "b"),
                store.views.counts(),
                return_exceptions=True,
            )
        assert {type(error) for error in errors} == {StoreUnavailableError}
        assert all("cannot reach PostgreSQL at" in str(error) for error in errors)
    finally:
        frail.resume()
    await store.inbox.put_many([receipt("p3")])
    assert (await store.views.counts()).states["reported"] == 1
    await store.database.close()


async def test_connections_that_died_in_the_pool_are_replaced_without_an_error(
    frail: Server, frail_url: str, receipt: MakeReceipt
) -> None:
    store = await open_store(frail_url, is_daemon=True)
    for number in range(3):
        await store.inbox.put_many([receipt(f"p{number}")])
        await asyncio.gather(*(store.key_values.put(f"{i}", "b") for i in range(3)))
        await asyncio.gather(*(store.views.counts() for _ in range(3)))
        if number < 2:
            frail.stop()
            frail.start()
    assert await store.key_values.get("0") == "b"
    await store.database.close()


async def test_the_inbox_waits_for_nobody(store: Store, receipt: MakeReceipt) -> None:
    async with AsyncExitStack() as held:
        for _ in range(postgres.WRITERS):
            await held.enter_async_context(store.database.write())
        for _ in range(postgres.READERS):
            await held.enter_async_context(store.database.read())
        await store.inbox.put_many([callback := receipt()])
        await store.inbox.prove()
    assert await store.inbox.unapplied(callback.received_at, 9) == [callback]


async def test_a_daemon_has_five_connections_at_the_most(
    store: Store, database: str, look: Look, receipt: MakeReceipt
) -> None:
    await asyncio.gather(
        *(store.views.counts() for _ in range(9)),
        *(store.key_values.put(f"{i}", "b") for i in range(9)),
        *(store.inbox.put_many([receipt()]) for _ in range(9)),
    )
    ours = "SELECT count(*) FROM pg_stat_activity WHERE datname = ? AND pid <> pg_backend_pid()"
    assert look(ours, database) == [(5,)]


async def test_every_transaction_has_its_time_outs_and_leaves_none_behind(store: Store) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    for line in (store.database.write(), store.database.write(urgent=True), store.database.read()):
        async with line as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            for name in names:
                within = (await connection.exec_driver_sql(f"SHOW {name}")).scalar()
                assert within not in ("0", None)
        for name in names:
            assert (await (await driver.execute(f"SHOW {name}")).fetchone()) == ("0",)
        statements = await driver.execute("SELECT count(*) FROM pg_prepared_statements")
        assert await statements.fetchone() == (0,)


async def test_a_commit_is_synchronous_even_where_the_server_has_that_turned_off(
    url: str, database: str, look: Look
) -> None:
    look(f"ALTER DATABASE {database} SET synchronous_commit = off")
    store = await open_store(url, is_daemon=True)
    said = await store.database.durability()
    assert said["synchronous_commit"] == "on"
    assert said["fsync"] in ("on", "UNSAFE")
    driver = await driver_of(store)
    assert await (await driver.execute("SHOW synchronous_commit")).fetchone() == ("off",)
    await store.database.close()


async def test_a_stronger_durability_of_the_server_is_kept(
    url: str, database: str, look: Look
) -> None:
    look(f"ALTER DATABASE {database} SET synchronous_commit = remote_apply")
    store = await open_store(url, is_daemon=True)
    assert (await store.database.durability())["synchronous_commit"] == "remote_apply"
    await store.database.close()


async def test_tasks_that_are_cancelled_give_their_connections_back(
    store: Store, database: str, look: Look, receipt: MakeReceipt
) -> None:
    for steps in range(40):
        tasks: list[asyncio.Task[Any]] = []
        tasks += [asyncio.create_task(store.views.counts()) for _ in range(4)]
        tasks += [asyncio.create_task(store.inbox.put_many([receipt()])) for _ in range(2)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(store.views.counts() for _ in range(12)))
    open_ = "SELECT count(*) FROM pg_stat_activity WHERE datname = ? AND xact_start IS NOT NULL"
    assert look(f"{open_} AND pid <> pg_backend_pid()", database) == [(0,)]


async def test_a_closed_store_says_so_and_leaves_no_connection(
    store: Store, database: str, look: Look, rules: Rules
) -> None:
    await register(store, rules, [Registration("p1", "d1")])
    await store.database.close()
    for work in (store.inbox.prove(), store.views.counts(), store.key_values.put("a", "b")):
        with pytest.raises(StoreUnavailableError, match="the store is closed"):
            await work
    await store.database.close()
    ours = "SELECT count(*) FROM pg_stat_activity WHERE datname = ? AND pid <> pg_backend_pid()"
    for _ in range(1000):
        if look(ours, database) == [(0,)]:
            break
        await asyncio.sleep(0.01)
    assert look(ours, database) == [(0,)]


async def test_no_transaction_is_allowed_before_the_schema_is_prepared(url: str) -> None:
    store = await open_store(url, is_daemon=True, is_prepared=False)
    with pytest.raises(StoreUnavailableError, match="has not been reached yet"):
        await store.inbox.prove()
    store.database.mark_prepared()
    await store.inbox.prove()
    await store.database.close()


async def test_a_wait_for_a_connection_ends_with_an_error(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    database: Any = store.database
    async with AsyncExitStack() as held:
        for _ in range(postgres.READERS):
            await held.enter_async_context(store.database.read())
        with monkeypatch.context() as impatient:
            impatient.setattr(database, "_read_pool", replace(database._read_pool, limit=0.05))
            with pytest.raises(StoreUnavailableError, match="no answer in time"):
                await store.views.counts()
    assert await store.instances.last_alive_at() is None


async def test_after_a_fail_over_the_old_primary_is_left(
    url: str, database: str, databases: Databases, receipt: MakeReceipt
) -> None:
    databases.admin(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    store = await open_store(url, is_daemon=True)
    for work in (store.inbox.prove(), store.inbox.put_many([receipt()])):
        with pytest.raises(StoreUnavailableError, match="it is read-only"):
            await work
    databases.admin(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    await store.inbox.put_many([receipt()])  # on a new connection, for the old one still may not
    await store.database.close()
