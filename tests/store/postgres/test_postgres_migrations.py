"""The migrations create the schema in an empty database; other databases are refused."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, NullPool, create_engine, make_url

from reconciler.store.errors import StoreError
from reconciler.store.open import prepare
from reconciler.store.revision import HEAD, MIGRATIONS, SchemaState
from reconciler.store.schema import metadata
from reconciler.store.urls import postgres_url
from tests.postgres import Databases
from tests.store.coming import NEXT, follow_up, together

Look = Callable[..., list[tuple[Any, ...]]]

MIGRATE = """
import sys
from pathlib import Path
import alembic.command
from reconciler.store.postgres.migrate import migrate_postgres
from reconciler.store.urls import postgres_url
print("ready", flush=True)
sys.stdin.readline()
print(migrate_postgres(*postgres_url(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]).name)
"""

COLUMNS = """
    SELECT table_name, column_name, data_type, character_maximum_length, collation_name,
        is_nullable, column_default
    FROM information_schema.columns WHERE table_schema = 'public'
    AND table_name <> 'alembic_version' ORDER BY table_name, column_name
"""
INDEXES = """
    SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
    AND tablename <> 'alembic_version' ORDER BY indexname
"""


@pytest.fixture
def kind() -> str:
    """``tests/store/sqlite`` has SQLite's."""
    return "postgresql"


@pytest.fixture
def empty(databases: Databases) -> Iterator[str]:
    """The name of an empty database."""
    name = databases.create()
    yield name
    databases.drop(name)


@pytest.fixture
def engine(databases: Databases, empty: str) -> Iterator[Engine]:
    address, _ = postgres_url(databases.url(empty))
    engine = create_engine(address, poolclass=NullPool)
    yield engine
    engine.dispose()


def test_a_migrated_store_and_one_made_from_the_metadata_do_not_differ(
    url: str, look: Look, databases: Databases, empty: str, engine: Engine
) -> None:
    metadata.create_all(engine)
    for of in (COLUMNS, INDEXES):
        assert look(of) == databases.look(empty, of)
    assert sum("WHERE" in index for (index,) in look(INDEXES)) >= 5, "partial indexes are gone"
    migrated = create_engine(postgres_url(url)[0], poolclass=NullPool)
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_every_key_is_ordered_by_bytes_whatever_the_servers_locale(look: Look) -> None:
    keys = [row for row in look(COLUMNS) if row[2] == "character varying"]
    assert {row[4] for row in keys} == {"C"}


def test_a_store_is_made_where_nothing_is(databases: Databases, empty: str) -> None:
    url = databases.url(empty)
    with pytest.raises(StoreError, match=r"there is no store at .*; `reconciler init-db` creates"):
        prepare(url, may_create=False, may_migrate=True)
    [said] = prepare(url, may_create=True, may_migrate=False)
    assert said.startswith("created ")
    assert said.endswith(f"/{empty}")
    assert prepare(url, may_create=False, may_migrate=False) == []


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", f"newer than this program's {HEAD}"),
        ("DROP TABLE callbacks", "holds tables of another program"),
        ("DELETE FROM alembic_version", "holds tables of another program"),
        ("DROP SCHEMA public CASCADE", "no schema on the search_path"),
    ],
)
def test_what_is_no_store_of_ours_is_refused_in_one_line_and_stays_as_it_was(
    url: str, look: Look, statement: str, reason: str
) -> None:
    look(statement)
    before = look(COLUMNS)
    with pytest.raises(StoreError, match=reason) as refused:
        prepare(url, may_create=True, may_migrate=True)
    assert "\n" not in str(refused.value)
    assert look(COLUMNS) == before


def test_tables_of_another_program_are_left_alone(
    databases: Databases, empty: str, engine: Engine
) -> None:
    databases.look(empty, "CREATE TABLE notes (note text)")
    with pytest.raises(StoreError, match="holds tables of another program; nothing was changed"):
        prepare(databases.url(empty), may_create=True, may_migrate=True)
    assert databases.look(empty, COLUMNS.replace("column_default", "1")) != []
    with engine.connect() as connection:
        assert connection.dialect.get_table_names(connection) == ["notes"]


def test_an_older_store_is_refused_where_migrating_is_not_allowed(url: str, look: Look) -> None:
    look("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(StoreError, match="has the older schema 0000; run `reconciler init-db`"):
        prepare(url, may_create=True, may_migrate=False)


def test_a_database_in_another_encoding_is_refused(databases: Databases, empty: str) -> None:
    latin = f"{empty}_latin"
    databases.admin(f"CREATE DATABASE {latin} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(StoreError, match="has the encoding LATIN1; UTF8 is needed"):
        prepare(databases.url(latin), may_create=True, may_migrate=True)
    databases.drop(latin)


def test_a_role_that_may_make_no_table_is_told_so_without_its_name(
    databases: Databases, empty: str
) -> None:
    databases.admin(f"CREATE ROLE canary_{empty} LOGIN PASSWORD 'canary-password'")
    role = make_url(databases.url(empty)).set(
        username=f"canary_{empty}", password="canary-password"
    )
    url = role.render_as_string(hide_password=False)
    with pytest.raises(StoreError) as refused:
        prepare(url, may_create=True, may_migrate=True)
    databases.admin(f"DROP ROLE canary_{empty}")
    assert "canary" not in str(refused.value)
    assert str(refused.value).startswith("our role lacks a right on the schema public in ")


def test_of_daemons_that_start_at_once_on_an_empty_database_one_creates_the_store(
    databases: Databases, empty: str, children: Callable[..., "subprocess.Popen[str]"]
) -> None:
    said = together(children, MIGRATE, databases.url(empty), MIGRATIONS, HEAD)
    assert said == [SchemaState.ABSENT.name, *[SchemaState.CURRENT.name] * 3]
    assert prepare(databases.url(empty), may_create=False, may_migrate=False) == []


def test_of_daemons_that_migrate_at_once_one_does_and_the_others_find_it_done(
    url: str,
    look: Look,
    tmp_path: Path,
    children: Callable[..., "subprocess.Popen[str]"],
) -> None:
    made = follow_up(tmp_path, "op.execute(\"INSERT INTO facts VALUES ('migrated', 'once')\")")
    assert together(children, MIGRATE, url, made, NEXT) == ["CURRENT"] * 3 + ["OLDER"]
    assert look("SELECT value FROM facts WHERE name = 'migrated'") == [("once",)]
