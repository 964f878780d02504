"""Errors tell trouble of the store from a refused row, and hold no value of a row."""

import asyncio
import sqlite3
import traceback
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.ledger import Registration, Rules
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store, open_store
from tests.clock import NOW


@pytest.fixture
def kind() -> str:
    """``tests/store/postgres`` has PostgreSQL's."""
    return "sqlite"


Look = Callable[..., list[tuple[Any, ...]]]
MakeReceipt = Callable[..., Receipt]
CANARY = "canary-5b1f"

REFUSE = (
    "CREATE TRIGGER {name} BEFORE INSERT ON {table} WHEN NEW.process_id = 'poison'"
    " BEGIN SELECT RAISE(ABORT, '" + CANARY + "'); END"
)


async def fails(work: Awaitable[Any]) -> StoreError:
    """Return the error of ``work``; neither it nor its causes may hold a value."""
    with pytest.raises(StoreError) as failed:
        await work
    assert CANARY not in str(failed.value)
    assert "\n" not in str(failed.value)
    return failed.value


def told(error: BaseException) -> str:
    """Return the texts of SQLAlchemy's errors: statement and parameters."""
    return "".join(traceback.format_exception_only(error.__cause__ or error))


def overwrite(path: Path, table: str) -> None:
    """Write garbage over the first page of ``table``."""
    with closing(sqlite3.connect(path)) as connection:
        root = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        [number] = connection.execute(root, [table]).fetchone()
    with path.open("r+b") as file:
        file.seek((number - 1) * 4096)
        file.write(b"\xa5" * 4096)


async def test_a_batch_with_a_poisonous_row_stores_nothing_and_blames_the_row(
    store: Store, receipt: MakeReceipt, look: Look
) -> None:
    look(REFUSE.format(name="refuse", table="callbacks"))
    batch = [receipt("p1"), receipt("poison", CANARY), receipt("p3")]
    error = await fails(store.inbox.put_many(batch))
    assert not isinstance(error, StoreUnavailableError)
    assert str(error) == "SQLITE_CONSTRAINT_TRIGGER"
    assert look("SELECT * FROM callbacks") == []
    await store.inbox.put_many([batch[0], batch[2]])
    assert look("SELECT process_id FROM callbacks ORDER BY 1") == [("p1",), ("p3",)]


async def test_a_text_that_no_database_can_hold_is_the_rows_fault(
    store: Store, receipt: MakeReceipt, look: Look
) -> None:
    error = await fails(store.inbox.put_many([receipt("p1"), receipt("p2", CANARY + "\ud800")]))
    assert not isinstance(error, StoreUnavailableError)
    assert look("SELECT * FROM callbacks") == []


async def test_a_number_that_no_column_can_hold_is_the_rows_fault(
    store: Store, receipt: MakeReceipt, rules: Rules
) -> None:
    error = await fails(store.inbox.put_many([replace(receipt(), received_at=2**63)]))
    assert not isinstance(error, StoreUnavailableError)
    huge = Registration("p1", CANARY, created_at=-(2**64))
    error = await fails(store.registry.register([huge], rules, NOW, whole=True))
    assert not isinstance(error, StoreUnavailableError)


async def test_a_row_that_the_ledger_refuses_leaves_no_value_in_any_text(
    store: Store, rules: Rules, look: Look
) -> None:
    look(REFUSE.format(name="refuse", table="processes"))
    batch = [Registration("p1", "d1"), Registration("poison", f"{CANARY}-dossier")]
    error = await fails(store.registry.register(batch, rules, NOW, whole=True))
    assert not isinstance(error, StoreUnavailableError)
    assert f"{CANARY}-dossier" not in told(error)
    assert look("SELECT * FROM processes") == []
    assert look("SELECT * FROM timeline") == []


async def test_a_database_that_another_program_has_locked_is_unavailable_and_then_works_again(
    store: Store, path: Path, receipt: MakeReceipt, rules: Rules
) -> None:
    await store.inbox.put_many([one := receipt("p1", CANARY)])
    async with store.database.write() as connection:
        await connection.exec_driver_sql("PRAGMA busy_timeout = 50")  # not worth waiting for
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        errors = await asyncio.gather(
            fails(store.inbox.put_many([receipt("p2", CANARY)])),
            fails(store.inbox.apply([one], rules, NOW)),
        )
        other.execute("ROLLBACK")
    for error in errors:
        assert isinstance(error, StoreUnavailableError)
        assert str(error) == "database is locked"
    await store.inbox.put_many([receipt("p2")])
    assert len(await store.inbox.apply([one], rules, NOW)) == 1


async def test_a_full_disk_is_the_stores_trouble_and_works_again_when_there_is_room(
    store: Store, receipt: MakeReceipt, rules: Rules, look: Look
) -> None:
    async with store.database.write() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar()
    async with store.database.write() as connection:
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    many = [replace(receipt(f"p{i}", CANARY), extra=("x" * 200,)) for i in range(500)]
    for work in (
        store.inbox.put_many(many),
        store.registry.register(
            [Registration(f"p{i}", "d" * 200) for i in range(200)], rules, NOW, whole=True
        ),
    ):
        error = await fails(work)
        assert isinstance(error, StoreUnavailableError)
        assert str(error) == "database or disk is full"
    async with store.database.write() as connection:
        await connection.exec_driver_sql("PRAGMA max_page_count = 1073741823")
    await store.inbox.put_many(many)
    assert look("SELECT count(*) FROM callbacks") == [(500,)]
    assert look("SELECT count(*) FROM processes") == [(0,)]


async def test_a_store_that_is_damaged_while_it_runs_takes_nothing_and_blames_no_row(
    path: Path, receipt: MakeReceipt
) -> None:
    overwrite(path, "callbacks")
    damaged = await open_store(f"sqlite:///{path}", is_daemon=True)
    error = await fails(damaged.inbox.put_many([receipt("p1", CANARY)]))
    await damaged.database.close()
    assert isinstance(error, StoreUnavailableError)
    assert str(error) == "database disk image is malformed"


async def test_a_reader_that_tries_to_write_is_stopped(store: Store, look: Look) -> None:
    with pytest.raises(StoreError, match="attempt to write a readonly database"):
        async with store.database.read() as connection:
            await connection.exec_driver_sql("INSERT INTO facts VALUES ('a', 'b')")
    assert look("SELECT * FROM facts") == []


async def test_a_store_that_cannot_be_opened_is_told_in_one_line_and_leaves_no_thread(
    path: Path,
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN")
        other.execute("SELECT * FROM facts").fetchall()
        with pytest.raises(StoreError) as failed:
            await open_store(f"sqlite:///{path}", is_daemon=True)
    assert str(failed.value) == f"cannot open the store {path}: database is locked"
