"""Opening a store by its URL: for the daemon, or for a command beside it."""

import os
from dataclasses import dataclass
from pathlib import Path

from reconciler.store.database import Database
from reconciler.store.errors import StoreError
from reconciler.store.inbox import Inbox
from reconciler.store.inspection import SchemaState, inspect_sqlite
from reconciler.store.lock import DaemonLock
from reconciler.store.migrate import HEAD, migrate_sqlite
from reconciler.store.outbox import Outbox
from reconciler.store.registry import Registry
from reconciler.store.roster import Roster
from reconciler.store.sqlite import SqliteDatabase
from reconciler.store.views import Views
from reconciler.store.work import WorkQueue

_SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Store:
    """The parts of an open store."""

    database: Database
    inbox: Inbox
    registry: Registry
    work: WorkQueue
    roster: Roster
    outbox: Outbox
    views: Views


def prepare(
    url: str, *, may_create: bool, may_migrate: bool, lock: DaemonLock | None = None
) -> list[str]:
    """Make sure that the store at ``url`` is there and has this program's schema.

    Blocks; call it before the loop runs. Returns what was done, in words. ``lock`` is taken
    before anything is changed. Raises StoreError with one line that says what to do.
    """
    path = sqlite_path(url)
    state, revision = inspect_sqlite(path, HEAD)
    if state is SchemaState.CURRENT:
        if lock is not None:
            lock.acquire()
        return []
    if state is SchemaState.ABSENT and not may_create:
        raise StoreError(f"there is no store at {path}; `reconciler init-db` creates one")
    if state is SchemaState.OLDER and not may_migrate:
        raise StoreError(
            f"the store {path} has the older schema {revision}; run `reconciler init-db`"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot create the store {path}: {error.strerror}") from error
    if lock is not None:
        lock.acquire()
    backup = migrate_sqlite(path)
    if state is SchemaState.ABSENT:
        return [f"created {path}"]
    if backup is None:  # another process was faster
        return []
    return [f"migrated {path}", f"kept the old one as {backup}"]


async def open_store(url: str, *, is_daemon: bool) -> Store:
    """Connect to a prepared store. Raises StoreError."""
    database = SqliteDatabase(sqlite_path(url), checkpoints=is_daemon)
    await database.open()
    return Store(
        database=database,
        inbox=Inbox(database),
        registry=Registry(database),
        work=WorkQueue(database),
        roster=Roster(database),
        outbox=Outbox(database),
        views=Views(database),
    )


def daemon_lock(url: str) -> DaemonLock:
    """Return the lock that keeps a second daemon off a SQLite file."""
    return DaemonLock(sqlite_path(url))


def store_file(url: str) -> Path | None:
    """Return the file of a store that is one; None for a database server."""
    return sqlite_path(url) if url.startswith(_SQLITE) else None


def sqlite_path(url: str) -> Path:
    """Return the file that a ``sqlite:///`` URL names."""
    if not url.startswith(_SQLITE):
        raise StoreError("PostgreSQL is not supported by this version yet; use sqlite:///PATH")
    # Resolved, for SQLite puts its other files beside the file that a symbolic link names.
    return Path(os.path.realpath(url.removeprefix(_SQLITE)))
