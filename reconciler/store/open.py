"""Opens a store by its URL, for the daemon or for a command beside it."""

from dataclasses import dataclass
from pathlib import Path

from reconciler.store.actions import Actions
from reconciler.store.database import Database
from reconciler.store.errors import StoreAbsentError
from reconciler.store.inbox import Inbox
from reconciler.store.instances import Instances
from reconciler.store.key_value import KeyValues
from reconciler.store.outbox import Outbox
from reconciler.store.redelivery import Redelivery
from reconciler.store.registrations import Registry
from reconciler.store.sqlite.database import SqliteDatabase
from reconciler.store.sqlite.lock import DaemonLock
from reconciler.store.sqlite.migrate import prepare_sqlite
from reconciler.store.urls import is_postgres, is_relative, postgres_url, sqlite_path
from reconciler.store.views import Views
from reconciler.store.work_queue import WorkQueue


@dataclass(frozen=True, slots=True)
class Store:
    """The parts of an open store."""

    database: Database
    inbox: Inbox
    registry: Registry
    work: WorkQueue
    instances: Instances
    key_values: KeyValues
    outbox: Outbox
    redelivery: Redelivery
    actions: Actions
    views: Views


def prepare(
    url: str, *, may_create: bool, may_migrate: bool, lock: DaemonLock | None = None
) -> list[str]:
    """Make sure that the store at ``url`` is there and has this program's schema.

    Blocks; call it before the loop runs. Returns a line for each change. ``lock`` is taken
    before anything is changed. Raises StoreError.
    """
    if is_postgres(url):
        address, place = postgres_url(url)
        from reconciler.store.postgres.migrate import prepare_postgres  # noqa: PLC0415 (an extra)

        return prepare_postgres(address, place, may_create=may_create, may_migrate=may_migrate)
    path = sqlite_path(url)
    try:
        return prepare_sqlite(path, may_create=may_create, may_migrate=may_migrate, lock=lock)
    except StoreAbsentError as error:
        if not is_relative(url):
            raise
        raise StoreAbsentError(
            f"{error}; store.url is relative, and counts from {Path.cwd()}"
        ) from None


async def open_store(
    url: str, *, is_daemon: bool, is_prepared: bool = True, read_only: bool = False
) -> Store:
    """Connect to a store. Raises StoreError.

    ``is_prepared``: False where ``prepare`` could not reach it. Every transaction then raises
    StoreUnavailableError until ``Store.database.mark_prepared``. ``read_only``: a SQLite file gets
    no writer.
    """
    database: Database
    if is_postgres(url):
        address, place = postgres_url(url)
        from reconciler.store.postgres.database import PostgresDatabase  # noqa: PLC0415 (an extra)

        database = PostgresDatabase(address, place, is_prepared=is_prepared)
    else:
        database = SqliteDatabase(sqlite_path(url), checkpoints=is_daemon, read_only=read_only)
        await database.open()
    return Store(
        database=database,
        inbox=Inbox(database),
        registry=Registry(database),
        work=WorkQueue(database),
        instances=Instances(database),
        key_values=KeyValues(database),
        outbox=Outbox(database),
        redelivery=Redelivery(database),
        actions=Actions(database),
        views=Views(database),
    )


def daemon_lock(url: str) -> DaemonLock:
    """Return the lock that keeps a second daemon off a SQLite file."""
    return DaemonLock(None if is_postgres(url) else sqlite_path(url))
