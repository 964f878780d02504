"""SQLite has one writer and separate readers, and every commit is on the disk."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.open import Store, open_store
from reconciler.store.sqlite.database import BUSY_TIMEOUT, CHECKPOINT_PAGES, READERS
from reconciler.store.urls import sqlite_path
from tests.store.conftest import PATIENCE


@pytest.fixture
def kind() -> str:
    """The connections are SQLite's."""
    return "sqlite"


Look = Callable[..., list[tuple[Any, ...]]]


async def pragma(store: Store, name: str) -> Any:
    async with store.database.write() as connection:
        return (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()


async def test_the_writer_syncs_at_each_commit_and_says_so(store: Store) -> None:
    said = await store.database.durability()
    assert said["journal_mode"] == "wal"
    assert said["synchronous"] == "full"
    assert said["sqlite_version"] == sqlite3.sqlite_version
    assert said["wal_reset_bug"] is (sqlite3.sqlite_version_info < (3, 51, 3))
    full = 2
    assert await pragma(store, "synchronous") == full
    assert await pragma(store, "busy_timeout") == BUSY_TIMEOUT


async def test_only_the_daemon_moves_the_wal_into_the_database(store: Store, path: Path) -> None:
    beside = await open_store(f"sqlite:///{path}", is_daemon=False)
    assert await pragma(beside, "wal_autocheckpoint") == 0
    await beside.database.close()
    assert await pragma(store, "wal_autocheckpoint") == CHECKPOINT_PAGES


async def test_a_store_that_was_opened_only_to_read_is_not_changed(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:  # a writer would change it back
        connection.execute("PRAGMA journal_mode=DELETE")
    before = await asyncio.to_thread(path.read_bytes)
    store = await open_store(f"sqlite:///{path}", is_daemon=False, read_only=True)

    counts = await store.views.counts()
    with pytest.raises(StoreError, match="opened only to read"):
        await store.key_values.put("a", "b")
    await store.database.close()

    assert counts.states["waiting"] == 0
    assert await asyncio.to_thread(path.read_bytes) == before
    with pytest.raises(StoreUnavailableError):
        await store.views.counts()


async def test_a_reader_sees_the_last_commit_and_waits_for_no_writer(store: Store) -> None:
    async with store.database.write() as connection:
        await connection.exec_driver_sql("INSERT INTO facts VALUES ('a', 'b')")
        assert await store.key_values.get("a") is None
    assert await store.key_values.get("a") == "b"


async def test_a_reader_sees_one_moment_however_long_it_looks(store: Store) -> None:
    count = "SELECT count(*) FROM facts"
    async with store.database.read() as connection:
        assert (await connection.exec_driver_sql(count)).scalar() == 0
        await store.key_values.put("a", "b")
        assert (await connection.exec_driver_sql(count)).scalar() == 0
    async with store.database.read() as connection:
        assert (await connection.exec_driver_sql(count)).scalar() == 1


async def test_an_error_in_the_block_undoes_it(store: Store) -> None:
    with pytest.raises(LookupError):
        async with store.database.write() as connection:
            await connection.exec_driver_sql("INSERT INTO facts VALUES ('a', 'b')")
            raise LookupError
    assert await store.key_values.get("a") is None


async def test_more_readers_than_connections_wait_for_each_other(store: Store) -> None:
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(store.views.counts() for _ in range(5 * READERS)))


async def test_a_closed_store_says_so_whatever_is_asked_of_it(store: Store) -> None:
    await store.database.close()
    for work in (store.inbox.prove(), store.views.counts(), store.key_values.put("a", "b")):
        with pytest.raises(StoreUnavailableError, match="the store is closed"):
            await work
    await store.database.close()


async def test_closing_waits_for_what_is_under_way(store: Store, look: Look) -> None:
    writing, reading, may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def write() -> None:
        async with store.database.write() as connection:
            await connection.exec_driver_sql("INSERT INTO facts VALUES ('a', 'b')")
            writing.set()
            await may_end.wait()

    async def read() -> Any:
        async with store.database.read() as connection:
            reading.set()
            await may_end.wait()
            return (await connection.exec_driver_sql("SELECT count(*) FROM facts")).scalar()

    tasks = [asyncio.create_task(write()), asyncio.create_task(read())]
    await writing.wait()
    await reading.wait()
    closing_ = asyncio.create_task(store.database.close())
    await asyncio.sleep(0)
    may_end.set()
    await asyncio.gather(*tasks)
    await closing_
    assert look("SELECT * FROM facts") == [("a", "b")]


async def test_a_closed_store_leaves_neither_a_thread_nor_a_file_behind(path: Path) -> None:
    before = threading.active_count()
    store = await open_store(f"sqlite:///{path}", is_daemon=True)
    await asyncio.gather(*(store.views.counts() for _ in range(READERS)))
    await store.inbox.prove()
    await store.database.close()
    async with asyncio.timeout(PATIENCE):
        while threading.active_count() > before:  # their last step is to end
            await asyncio.sleep(0)
    assert sorted(await asyncio.to_thread(names_beside, path)) == ["store.db"]


def names_beside(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir()]


async def test_a_symbolic_link_and_its_target_are_one_store(
    store: Store, path: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    assert sqlite_path(f"sqlite:///{link}") == path
    beside = await open_store(f"sqlite:///{link}", is_daemon=False)
    await beside.key_values.put("a", "b")
    await beside.database.close()
    assert await store.key_values.get("a") == "b"


async def test_writes_of_two_programs_at_once_are_all_kept(store: Store, path: Path) -> None:
    beside = await open_store(f"sqlite:///{path}", is_daemon=False)
    names = [f"fact-{number}" for number in range(40)]
    await asyncio.gather(
        *(store.key_values.put(name, "daemon") for name in names[::2]),
        *(beside.key_values.put(name, "command") for name in names[1::2]),
    )
    await beside.database.close()
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name FROM facts").fetchall()
    assert sorted(found) == sorted((name,) for name in names)
