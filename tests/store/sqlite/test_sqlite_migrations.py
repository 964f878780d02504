"""The migrations create the tables of schema.py, and back existing data up."""

import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine

from reconciler.store.errors import StoreError
from reconciler.store.open import prepare
from reconciler.store.revision import HEAD, MIGRATIONS, SchemaState
from reconciler.store.schema import metadata
from reconciler.store.sqlite.inspect import inspect_sqlite
from reconciler.store.sqlite.migrate import migrate_sqlite
from tests.store.coming import NEXT, copied, follow_up, together
from tests.store.conftest import PATIENCE

MIGRATE = """
import sys
from pathlib import Path
import alembic.command
from reconciler.store.sqlite.migrate import migrate_sqlite
path, scripts, head = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
print("ready", flush=True)
sys.stdin.readline()
print(migrate_sqlite(path, scripts, head))
"""

LOOK_ONLY = """
import asyncio, sys
from reconciler.store.open import open_store, prepare

async def main():
    store = await open_store(sys.argv[1], is_daemon=True)
    await store.views.counts()
    await store.database.close()

assert prepare(sys.argv[1], may_create=True, may_migrate=True) == []
asyncio.run(main())
assert "alembic" not in sys.modules
"""


@pytest.fixture
def migrated(path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{path}")
    yield engine
    engine.dispose()


def schema_of(path: Path) -> dict[str, str | None]:
    """Return each table and index with its SQL, in normalized white space."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_schema").fetchall()
    return {name: sql and re.sub(r"\s+", " ", sql) for name, sql in rows}


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_a_migrated_store_and_one_made_from_the_metadata_do_not_differ(
    path: Path, tmp_path: Path, migrated: Engine
) -> None:
    other = tmp_path / "metadata.db"
    engine = create_engine(f"sqlite:///{other}")
    metadata.create_all(engine)
    engine.dispose()
    found = schema_of(path)
    for name in ("alembic_version", "sqlite_autoindex_alembic_version_1"):
        del found[name]
    assert found == schema_of(other)
    assert sum("WHERE" in (sql or "") for sql in found.values()) >= 5, "partial indexes are gone"
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_head_is_the_newest_of_the_migrations_and_their_names_sort() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    directory = ScriptDirectory.from_config(config)
    assert directory.get_heads() == [HEAD]
    oldest_first = [script.revision for script in directory.walk_revisions()][::-1]
    assert oldest_first == sorted(oldest_first)
    assert all(re.fullmatch(r"\d{4}", revision) for revision in oldest_first)


def test_a_new_store_has_the_modes_that_can_only_be_chosen_at_its_birth(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        incremental = 2
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (incremental,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_store_that_needs_nothing_is_opened_without_alembic(
    path: Path, children: Callable[..., "subprocess.Popen[str]"]
) -> None:
    child = children(LOOK_ONLY, f"sqlite:///{path}")
    _, errors = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, errors


def test_existing_data_is_copied_before_it_is_migrated_with_what_stands_in_the_wal(
    path: Path, tmp_path: Path
) -> None:
    scripts = follow_up(
        tmp_path,
        """
        op.execute("ALTER TABLE facts ADD COLUMN unit TEXT")
        op.execute("UPDATE facts SET value = 'new'")
        """,
    )
    path.chmod(0o640)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO facts (name, value) VALUES ('a', 'old')")
        before = list(connection.iterdump())
        assert path.with_name("store.db-wal").stat().st_size > 0

        backup = migrate_sqlite(path, scripts, NEXT)

        assert connection.execute("SELECT value, unit FROM facts").fetchall() == [("new", None)]
    assert backup == f"{path}.{HEAD}.bak"
    kept = Path(backup)
    assert dump(kept) == before
    assert inspect_sqlite(kept, HEAD) == (SchemaState.CURRENT, HEAD)
    assert kept.stat().st_mode == path.stat().st_mode
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["store.db", kept.name]
    assert inspect_sqlite(path, NEXT) == (SchemaState.CURRENT, NEXT)
    assert migrate_sqlite(path, scripts, NEXT) is None


def test_a_partial_backup_of_a_crash_is_replaced(path: Path, tmp_path: Path) -> None:
    path.with_name(f"store.db.{HEAD}.bak.part").write_text("half a backup")
    assert migrate_sqlite(path, follow_up(tmp_path, "pass"), NEXT)
    assert not list(path.parent.glob("*.part"))


def test_a_first_migration_that_fails_leaves_nothing_that_stops_the_next(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with pytest.raises(StoreError, match="no such table: nowhere"):
        migrate_sqlite(path, follow_up(tmp_path, "op.execute('DELETE FROM nowhere')"), NEXT)
    assert inspect_sqlite(path, HEAD) == (SchemaState.ABSENT, None)
    assert migrate_sqlite(path) is None
    assert inspect_sqlite(path, HEAD) == (SchemaState.CURRENT, HEAD)


def test_an_unknown_revision_is_reported_in_one_line(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot migrate the store") as failed:
        migrate_sqlite(path, copied(tmp_path), NEXT)
    assert "\n" not in str(failed.value)
    assert inspect_sqlite(path, HEAD) == (SchemaState.CURRENT, HEAD)


def test_an_older_store_is_refused_where_migrating_is_not_allowed(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="has the older schema 0000; run `reconciler init-db`"):
        prepare(f"sqlite:///{path}", may_create=True, may_migrate=False)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["store.db"]


def test_processes_that_create_a_store_at_once_make_one_store(
    tmp_path: Path, children: Callable[..., "subprocess.Popen[str]"]
) -> None:
    path = tmp_path / "new.db"
    assert together(children, MIGRATE, path, MIGRATIONS, HEAD) == ["None"] * 4
    assert inspect_sqlite(path, HEAD) == (SchemaState.CURRENT, HEAD)


def test_of_processes_that_migrate_at_once_one_does_and_the_backup_holds_the_old_data(
    path: Path, tmp_path: Path, children: Callable[..., "subprocess.Popen[str]"]
) -> None:
    scripts = follow_up(tmp_path, "op.execute('DELETE FROM facts')")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO facts VALUES ('a', 'old')")
    before = dump(path)
    said = together(children, MIGRATE, path, scripts, NEXT)
    assert said == [f"{path}.{HEAD}.bak", "None", "None", "None"]
    assert dump(Path(f"{path}.{HEAD}.bak")) == before
    assert inspect_sqlite(path, NEXT) == (SchemaState.CURRENT, NEXT)
