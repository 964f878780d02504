"""Errors tell trouble of PostgreSQL from a refused row, and hold no value of a row."""

import asyncio
import subprocess
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from psycopg import OperationalError, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import (
    DiskFull,
    IndexCorrupted,
    InsufficientPrivilege,
    LockNotAvailable,
    ReadOnlySqlTransaction,
    TooManyConnections,
)

from reconciler.ledger import Registration, Rules
from reconciler.store.errors import StoreConflictError, StoreError, StoreUnavailableError
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store, open_store, prepare
from reconciler.store.postgres.errors import UNKNOWN, store_error
from reconciler.store.urls import postgres_url
from tests.clock import NOW
from tests.postgres import Databases
from tests.store.conftest import PATIENCE, register

Look = Callable[..., list[tuple[Any, ...]]]
MakeReceipt = Callable[..., Receipt]
CANARY = "canary-5b1f"

REFUSE = f"""
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.process_id = 'poison' THEN RAISE EXCEPTION '{CANARY}'; END IF;
        RETURN NEW;
    END $$
"""
CONFLICT = """
    CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('tries') < %s THEN RAISE EXCEPTION USING ERRCODE = '40P01'; END IF;
        RETURN NEW;
    END $$
"""

WITHOUT_THE_DRIVER = """
import asyncio, sys
sys.modules["psycopg"] = None
from reconciler.store.errors import StoreError
from reconciler.store.open import open_store, prepare

try:
    prepare(sys.argv[1], may_create=True, may_migrate=True)
except StoreError as error:
    print(error)
try:
    asyncio.run(open_store(sys.argv[1], is_daemon=True))
except StoreError as error:
    print(error)
"""


@pytest.fixture
def kind() -> str:
    """``tests/store/sqlite`` has SQLite's."""
    return "postgresql"


def on_insert(table: str, function: str) -> str:
    return (
        f"CREATE TRIGGER {function} BEFORE INSERT ON {table}"
        f" FOR EACH ROW EXECUTE FUNCTION {function}()"
    )


async def fails(work: Awaitable[Any]) -> StoreError:
    """Return the error of ``work``; nothing of it that a log could show may hold a value."""
    with pytest.raises(StoreError) as failed:
        await work
    told = "".join(traceback.format_exception(failed.value))
    assert CANARY not in told.partition("Traceback")[2].replace("CANARY", "")
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__
    assert "\n" not in str(failed.value)
    return failed.value


async def test_a_batch_with_a_poisonous_row_stores_nothing_and_blames_the_row(
    store: Store, receipt: MakeReceipt, look: Look
) -> None:
    look(REFUSE)
    look(on_insert("callbacks", "refuse"))
    batch = [receipt("p1"), receipt("poison", CANARY), receipt("p3")]
    error = await fails(store.inbox.put_many(batch))
    assert not isinstance(error, StoreUnavailableError)
    assert str(error) == "RaiseException"
    assert look("SELECT * FROM callbacks") == []
    await store.inbox.put_many([batch[0], batch[2]])
    assert look("SELECT process_id FROM callbacks ORDER BY 1") == [("p1",), ("p3",)]


@pytest.mark.parametrize(
    "members",
    [
        {"status": f"{CANARY}\0"},
        {"status": f"{CANARY}\ud800"},
        {"process_id": CANARY * 30},
        {"received_at": 2**63},
    ],
    ids=["NUL", "half a surrogate", "too long", "too large"],
)
async def test_a_value_that_no_column_can_hold_is_the_rows_fault(
    store: Store, receipt: MakeReceipt, rules: Rules, look: Look, members: dict[str, Any]
) -> None:
    poison = replace(receipt("p2"), **members)
    error = await fails(store.inbox.put_many([receipt("p1"), poison]))
    assert not isinstance(error, StoreUnavailableError)
    registration = Registration(poison.process_id, poison.status, created_at=-poison.received_at)
    if members.get("received_at"):
        registration = replace(registration, created_at=-(2**64))
    error = await fails(store.registry.register([registration], rules, NOW, whole=True))
    assert not isinstance(error, StoreUnavailableError)
    assert look("SELECT * FROM callbacks") == look("SELECT * FROM processes") == []


async def test_a_constraint_whose_error_carries_the_row_tells_nothing_of_it(
    store: Store, rules: Rules, look: Look
) -> None:
    look("ALTER TABLE processes ADD CHECK (process_id <> 'poison')")
    batch = [Registration("p1", "d1"), Registration("poison", f"{CANARY}-dossier")]
    error = await fails(store.registry.register(batch, rules, NOW, whole=True))
    assert str(error) == "CheckViolation"
    assert look("SELECT * FROM processes") == look("SELECT * FROM timeline") == []


@pytest.mark.parametrize(
    ("harm", "heal", "words"),
    [
        ("ALTER TABLE callbacks RENAME TO away", "ALTER TABLE away RENAME TO callbacks",
         "a table is missing; run `reconciler init-db` (42P01)"),
        ("ALTER DATABASE {database} SET default_transaction_read_only = on",
         "BEGIN READ WRITE; ALTER DATABASE {database} RESET ALL; COMMIT",
         "it is read-only: a standby, or made so (25006)"),
    ],
)  # fmt: skip
async def test_what_an_operator_can_put_right_is_not_the_rows_fault(
    url: str, database: str, receipt: MakeReceipt, look: Look, harm: str, heal: str, words: str
) -> None:
    look(harm.format(database=database))
    store = await open_store(url, is_daemon=True)
    error = await fails(store.inbox.put_many([receipt("p1", CANARY)]))
    assert isinstance(error, StoreUnavailableError)
    assert str(error).endswith(words)
    await store.database.close()
    look(heal.format(database=database))
    store = await open_store(url, is_daemon=True)
    await store.inbox.put_many([receipt("p1")])
    await store.database.close()


async def test_a_statement_that_the_server_ends_is_unavailable_and_the_next_one_works(
    store: Store, database: str, look: Look
) -> None:
    async def sleep() -> None:
        async with store.database.write() as connection:
            await connection.exec_driver_sql(f"SELECT pg_sleep(60), '{CANARY}'")

    for end in ("pg_cancel_backend", "pg_terminate_backend"):
        task = asyncio.create_task(fails(sleep()))
        sleeping = "FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = ?"
        while not look(f"SELECT {end}(pid) {sleeping}", database):
            await asyncio.sleep(0.01)
        assert isinstance(await task, StoreUnavailableError)
        await store.key_values.put(end, "done")
        assert await store.key_values.get(end) == "done"


async def test_a_transaction_that_met_a_deadlock_is_done_again(
    store: Store, rules: Rules, look: Look
) -> None:
    look("CREATE SEQUENCE tries")
    look(CONFLICT.replace("%s", "3"))
    look(on_insert("processes", "conflict"))
    await register(store, rules, [Registration("p1", "d1")])
    assert look("SELECT last_value FROM tries") == [(3,)]
    assert look("SELECT process_id, event FROM timeline") == [("p1", "process_registered")]


async def test_one_that_meets_it_each_time_is_unavailable_in_the_end(
    store: Store, rules: Rules, look: Look
) -> None:
    look("CREATE SEQUENCE tries")
    look(CONFLICT.replace("%s", "1000"))
    look(on_insert("processes", "conflict"))
    error = await fails(register(store, rules, [Registration("p1", "d1")]))
    assert isinstance(error, StoreConflictError)
    assert look("SELECT * FROM timeline") == []


async def test_a_key_that_came_first_is_no_error_of_the_user(
    store: Store, rules: Rules, look: Look
) -> None:
    """The row is inserted by another program, without our lock."""
    look("CREATE SEQUENCE tries")
    look("""
        CREATE FUNCTION first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('tries') = 1 THEN RAISE EXCEPTION USING ERRCODE = '23505'; END IF;
            RETURN NEW;
        END $$
    """)
    look(on_insert("processes", "first"))
    await register(store, rules, [Registration("p1", "d1")])
    assert look("SELECT process_id FROM processes") == [("p1",)]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://canary:canary@127.0.0.1:1/d", "127.0.0.1:1/d: connection refused"),
        ("postgres://canary@name.invalid/d", "name.invalid:5432/d: its name is not known"),
        ("postgresql://canary@/d?host=/nowhere", "/nowhere:5432/d: no server listens there"),
    ],
)
async def test_a_connection_that_cannot_be_made_is_told_by_its_place(url: str, words: str) -> None:
    store = await open_store(url, is_daemon=True)
    with pytest.raises(StoreUnavailableError) as failed:
        await store.inbox.prove()
    await store.database.close()
    assert str(failed.value) == f"cannot reach PostgreSQL at {words}"


@pytest.mark.parametrize(
    ("url", "options", "place"),
    [
        ("postgresql://h1:5432,h2:5433/d", {"host": "h1,h2", "port": "5432,5433"},
         "h1,h2:5432,5433/d"),
        ("postgresql://h1,h2/d?port=6000", {"host": "h1,h2", "port": "6000"}, "h1,h2:6000/d"),
        ("postgresql://u:p@%2Fvar%2Frun/d", {"host": "/var/run"}, "/var/run:5432/d"),
        ("postgresql://h/d?application_name=mine", {"application_name": "mine"}, "h:5432/d"),
        ("postgresql://h/d?connect_timeout=9", {"connect_timeout": "9"}, "h:5432/d"),
        ("postgresql://h/d", {"connect_timeout": "2", "application_name": "reconciler"},
         "h:5432/d"),
        ("postgresql://h/d?client_encoding=LATIN1", {"client_encoding": "utf8"}, "h:5432/d"),
        ("postgresql://u:p%40ss@[::1]:5/d", {"host": "::1", "port": "5"}, "::1:5/d"),
    ],
)  # fmt: skip
def test_libpq_reads_the_url_and_what_it_says_is_honoured(
    url: str, options: dict[str, str], place: str
) -> None:
    address, shown = postgres_url(url)
    dialect: Any = address.get_dialect()()
    _, given = dialect.create_connect_args(address)
    found = {**conninfo_to_dict(given["conninfo"]), **given}
    assert {name: found[name] for name in options} == options
    assert shown == place
    assert "p%40ss" not in str(address)
    assert "p@ss" not in str(address)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://sesame:key1@key2@127.0.0.1:1/d",
        "postgresql://sesame:key1/key2@127.0.0.1:1/d",
        "postgresql://127.0.0.1:1/d?host=key1@key2",
        "postgresql://sesame:key1%40key2@127.0.0.1:1/d",
        "postgresql://sesame@127.0.0.1:1/d?password=key1",
    ],
)
async def test_nothing_left_of_an_at_sign_is_ever_shown(url: str) -> None:
    with pytest.raises(StoreError) as failed:
        await (await open_store(url, is_daemon=True)).inbox.prove()
    said = str(failed.value)
    assert not [secret for secret in ("sesame", "key1", "key2") if secret in said]


def test_a_right_that_is_missing_is_named() -> None:
    error = InsufficientPrivilege("permission denied for table processes")
    said = str(store_error(error, "h:5432/d"))
    assert said == "our role lacks a right on the table processes in h:5432/d"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DiskFull(), "its disk is full (53100)"),
        (TooManyConnections(), "too many connections; raise max_connections"),
        (LockNotAvailable(), "a lock was not free in time"),
        (ReadOnlySqlTransaction(), "it is read-only"),
        (IndexCorrupted(), "an index of it is damaged"),
        (OperationalError("something nobody has seen"), UNKNOWN),
        (OperationalError("FATAL: no pg_hba.conf entry for host"), "pg_hba.conf has no line"),
        (OperationalError("server does not support SSL, but"), "it speaks no TLS"),
        (OperationalError("session is not read-only"), "target_session_attrs"),
    ],
)
def test_a_refusal_has_words_of_its_own(error: Exception, words: str) -> None:
    assert words in str(store_error(error, "h:5432/d"))


def test_a_database_in_another_encoding_is_one_line(databases: Databases) -> None:
    name = f"ascii_{uuid4().hex[:8]}"
    databases.admin(
        sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'").format(
            sql.Identifier(name)
        )
    )
    with pytest.raises(StoreError) as failed:
        prepare(databases.url(name), may_create=True, may_migrate=True)
    databases.drop(name)
    assert "the encoding SQL_ASCII; UTF8 is needed" in str(failed.value)


def test_without_the_driver_one_line_says_what_to_install(
    children: Callable[..., "subprocess.Popen[str]"],
) -> None:
    child = children(WITHOUT_THE_DRIVER, "postgresql://host/database")
    said, errors = child.communicate(timeout=PATIENCE)
    assert errors == ""
    assert (
        said.splitlines()
        == [
            "store.url names PostgreSQL, but psycopg is not installed; "
            "`pip install 'psycopg[binary]'` adds it"
        ]
        * 2
    )
