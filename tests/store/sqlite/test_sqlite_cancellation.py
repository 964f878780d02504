"""After a cancellation at any moment no transaction stays open, and the next one works."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from reconciler.store.errors import StoreError
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store
from reconciler.store.shielded import shielded
from tests.store.conftest import PATIENCE


@pytest.fixture
def kind() -> str:
    """The driver's thread is SQLite's alone."""
    return "sqlite"


Look = Callable[..., list[tuple[Any, ...]]]
PAUSED = "INSERT INTO facts (name, value) VALUES ('paused', pause())"
TRIGGER = f"CREATE TRIGGER paused AFTER INSERT ON callbacks BEGIN {PAUSED}; END"


class Pause:
    """The SQL function ``pause()``: stops its statement until the test lets it go on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.begun = asyncio.Event()
        self.may_end = threading.Event()

    def __call__(self) -> str:
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.may_end.wait(PATIENCE)
        return "over"


async def driver_of(store: Store) -> Any:
    """Return the writer's own aiosqlite connection."""
    async with store.database.write() as connection:
        return (await connection.get_raw_connection()).driver_connection


@pytest.fixture
async def pause(store: Store, look: Look) -> AsyncIterator[Pause]:
    pause = Pause()
    look(TRIGGER)
    driver = await driver_of(store)
    await driver.create_function("pause", 0, pause)
    yield pause
    pause.may_end.set()


async def with_core(store: Store) -> None:
    async with store.database.write() as connection:
        await connection.exec_driver_sql(PAUSED)


async def with_the_driver(store: Store) -> None:
    receipt = Receipt("paused", 0, "p", "d", "accepted", (), b"")
    await store.inbox.put_many([receipt])  # the trigger of the fixture pauses it


async def assert_works(store: Store, look: Look) -> None:
    """Write in every way, here and from another program, without a wait for a lock."""
    async with store.database.write() as connection:
        await connection.exec_driver_sql("INSERT INTO facts VALUES ('next', 'core')")
    await store.inbox.prove()
    assert await store.key_values.get("next") == "core"
    look("INSERT INTO facts VALUES ('next-2', 'another program')")


@pytest.mark.parametrize("write", [with_core, with_the_driver])
@pytest.mark.parametrize("times", [1, 3])
async def test_one_that_is_cancelled_in_its_statement_ends_it_and_then_is_cancelled(
    store: Store,
    pause: Pause,
    look: Look,
    write: Callable[[Store], Awaitable[None]],
    times: int,
) -> None:
    task = asyncio.ensure_future(write(store))
    await pause.begun.wait()
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    pause.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ("paused",) not in look("SELECT name FROM facts") or write is with_the_driver
    await assert_works(store, look)


async def test_one_that_is_cancelled_between_its_statements_changes_nothing(
    store: Store, look: Look
) -> None:
    written = asyncio.Event()

    async def write() -> None:
        async with store.database.write() as connection:
            await connection.exec_driver_sql("INSERT INTO facts VALUES ('a', 'b')")
            written.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert look("SELECT * FROM facts") == []
    await assert_works(store, look)


async def test_one_that_is_cancelled_while_it_waits_for_its_turn_writes_nothing(
    store: Store, look: Look
) -> None:
    async with store.database.write():
        waiting = [
            asyncio.create_task(store.key_values.put("a", "b")),
            asyncio.create_task(store.inbox.prove()),
        ]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
    for task in waiting:
        with pytest.raises(asyncio.CancelledError):
            await task
    assert look("SELECT * FROM facts") == []
    await assert_works(store, look)


async def test_readers_that_are_cancelled_are_free_again(store: Store, look: Look) -> None:
    for steps in range(40):
        tasks = [asyncio.create_task(store.views.counts()) for _ in range(6)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(store.views.counts() for _ in range(12)))
    await assert_works(store, look)


@pytest.mark.parametrize("write", [with_core, with_the_driver])
@pytest.mark.parametrize("has_reader", [True, False])
async def test_a_connection_that_has_died_is_replaced(
    store: Store,
    pause: Pause,
    look: Look,
    write: Callable[[Store], Awaitable[None]],
    *,
    has_reader: bool,
) -> None:
    """Without a reader the WAL goes with it: that is no removal by somebody."""
    pause.may_end.set()
    if has_reader:
        await store.views.counts()
    driver = await driver_of(store)
    await driver.close()
    with pytest.raises(StoreError):
        await write(store)
    assert look("SELECT * FROM facts") == []
    await assert_works(store, look)


@pytest.mark.parametrize("write", [with_core, with_the_driver])
async def test_a_connection_that_cannot_roll_back_is_replaced(
    store: Store, pause: Pause, look: Look, write: Callable[[Store], Awaitable[None]]
) -> None:
    def refuse(action: int, argument: str | None, *_rest: object) -> int:
        is_rollback = action == sqlite3.SQLITE_TRANSACTION and argument == "ROLLBACK"
        return sqlite3.SQLITE_DENY if is_rollback else sqlite3.SQLITE_OK

    pause.may_end.set()
    look("INSERT INTO facts VALUES ('paused', 'already')")
    driver = await driver_of(store)
    await driver.set_authorizer(refuse)
    with pytest.raises(StoreError):
        await write(store)
    assert look("SELECT * FROM facts") == [("paused", "already")]
    await assert_works(store, look)


async def test_work_that_fails_after_its_cancellation_is_still_a_cancellation() -> None:
    begun, may_fail = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await may_fail.wait()
        raise LookupError

    task = asyncio.create_task(shielded(work()))
    await begun.wait()
    task.cancel()
    may_fail.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_time_out_around_a_write_is_a_time_out(
    store: Store, pause: Pause, look: Look
) -> None:
    limit = asyncio.timeout(PATIENCE)

    async def write() -> None:
        async with limit:
            await with_core(store)

    task = asyncio.create_task(write())
    await pause.begun.wait()
    limit.reschedule(asyncio.get_running_loop().time())
    while not limit.expired():
        await asyncio.sleep(0)
    pause.may_end.set()
    with pytest.raises(TimeoutError):
        await task
    assert look("SELECT * FROM facts") == []
    await assert_works(store, look)
