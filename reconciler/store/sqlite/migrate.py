"""Creates a SQLite store, or migrates it to this program's schema."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import URL, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from reconciler.runtime.disk import sync_directory
from reconciler.store.errors import StoreError
from reconciler.store.revision import HEAD, MIGRATIONS, SchemaState, check_may_change, upgrade
from reconciler.store.sqlite.inspect import inspect_sqlite
from reconciler.store.sqlite.lock import DaemonLock

BUSY_TIMEOUT = 10_000
"""Milliseconds to wait for another process that migrates the same store."""


def prepare_sqlite(
    path: Path, *, may_create: bool, may_migrate: bool, lock: DaemonLock | None
) -> list[str]:
    """Make sure that the file is there with this program's schema; return what was done.

    Blocks. ``lock`` is taken before anything is changed. Raises StoreError.
    """
    state, revision = inspect_sqlite(path, HEAD)
    check_may_change(path, state, revision, may_create=may_create, may_migrate=may_migrate)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot create the store {path}: {error.strerror}") from error
    if lock is not None:
        lock.acquire()
    if state is SchemaState.CURRENT:
        return []
    backup = migrate_sqlite(path)
    if state is SchemaState.ABSENT:
        return [f"created {path}"]
    if backup is None:  # another process was faster
        return []
    return [f"migrated {path}", f"kept the old one as {backup}"]


def migrate_sqlite(path: Path, scripts: Path = MIGRATIONS, head: str = HEAD) -> str | None:
    """Create or migrate the store; return the path of the backup of existing data, if any.

    Raises StoreError; the migration is one transaction, so a failed one changes nothing.
    """
    state, _ = inspect_sqlite(path, head)
    return None if state is SchemaState.CURRENT else _upgrade(path, scripts, head)


def _upgrade(path: Path, scripts: Path, head: str) -> str | None:
    url = URL.create("sqlite", database=str(path.absolute()))
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            revision = _revision(connection)
            if revision == head:  # another process was faster
                return None
            backup = None if revision is None else _back_up(path, revision)
            upgrade(connection, path, scripts, head)
    except DBAPIError as error:
        raise StoreError(f"cannot migrate the store {path}: {error.orig}") from error
    except sqlite3.Error as error:
        raise StoreError(f"cannot migrate the store {path}: {error}") from error
    except OSError as error:
        raise StoreError(f"cannot migrate the store {path}: {error.strerror}") from error
    finally:
        engine.dispose()
    return backup


def on_connect(connection: sqlite3.Connection, _record: object) -> None:
    """Set up a connection that writes a store, also a new one."""
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT}",
        "auto_vacuum=INCREMENTAL",  # takes effect only before the first page is written
        "journal_mode=WAL",
        "synchronous=FULL",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _revision(connection: Any) -> str | None:
    """Return the revision, now that nobody else can write."""
    table = "SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'"
    if connection.exec_driver_sql(table).scalar() is None:
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def _back_up(path: Path, revision: str) -> str:
    """Write a consistent copy, under its final name only when it is complete."""
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
