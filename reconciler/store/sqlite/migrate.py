"""Bring a store to this program's schema. Alembic is imported only when there is work for it."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from reconciler.runtime.disk import sync_directory
from reconciler.store.errors import StoreError
from reconciler.store.sqlite.inspect import SchemaState, inspect_sqlite

HEAD = "0002"
"""The revision this program writes and reads; a test holds it against the migrations."""

MIGRATIONS = Path(__file__).parent.parent / "migrations"

BUSY_TIMEOUT = 10_000
"""Milliseconds to wait for another process that migrates the same store."""


def migrate_sqlite(path: Path, scripts: Path = MIGRATIONS, head: str = HEAD) -> str | None:
    """Create or upgrade the store. Returns the path of the backup made of existing data, if any.

    Raises StoreError; the migration is one transaction, so a failed one changes nothing.
    """
    state, _ = inspect_sqlite(path, head)
    return None if state is SchemaState.CURRENT else _upgrade(path, scripts, head)


def _upgrade(path: Path, scripts: Path, head: str) -> str | None:
    from alembic import command  # noqa: PLC0415 (a third of a second that a start must not pay)
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415
    from sqlalchemy import URL, NullPool, create_engine, event  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    url = URL.create("sqlite", database=str(path.absolute()))
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            revision = _revision(connection)
            if revision == head:  # another process was faster
                return None
            backup = None if revision is None else _keep(path, revision)
            command.upgrade(config, head)
    except DBAPIError as error:
        raise StoreError(f"cannot migrate the store {path}: {error.orig}") from error
    except (sqlite3.Error, CommandError) as error:
        raise StoreError(f"cannot migrate the store {path}: {error}") from error
    except OSError as error:
        raise StoreError(f"cannot migrate the store {path}: {error.strerror}") from error
    finally:
        engine.dispose()
    return backup


def on_connect(connection: sqlite3.Connection, _record: object) -> None:
    """Make a connection ready to write a store, a new one included."""
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT}",
        "auto_vacuum=INCREMENTAL",  # takes effect only before the first page is written
        "journal_mode=WAL",
        "synchronous=FULL",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _revision(connection: Any) -> str | None:
    """Return what the store says now that nobody else can write."""
    table = "SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'"
    if connection.exec_driver_sql(table).scalar() is None:
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def _keep(path: Path, revision: str) -> str:
    """Write a consistent copy: what a crash half-way leaves never bears the final name."""
    backup = path.with_name(f"{path.name}.{revision}.bak")
    part = backup.with_name(backup.name + ".part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(part)) as target:
        source.backup(target)
    shutil.copymode(path, part)
    part.replace(backup)
    sync_directory(path.parent)
    return str(backup)
