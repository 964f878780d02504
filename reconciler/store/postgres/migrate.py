"""Inspects a PostgreSQL store, and migrates it to this program's schema."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

from sqlalchemy import URL, Connection, NullPool, create_engine, text

from reconciler.store.errors import StoreError
from reconciler.store.postgres.database import DRIVER, begin_with_limits, cut_connection
from reconciler.store.postgres.errors import translate_errors
from reconciler.store.revision import (
    HEAD,
    MIGRATIONS,
    OURS,
    SchemaState,
    check_may_change,
    compare,
    upgrade,
)

LOOK_LIMIT = 5.0
"""Seconds for an inspection of the schema."""

MIGRATION_LIMIT = 600.0
"""Seconds for a migration, or for waiting for another daemon's."""

OLDEST = 120_000
"""PostgreSQL 12, the oldest with MATERIALIZED."""

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('reconciler.schema', 0))")
_TABLES = text("""
    SELECT relname FROM pg_class
    WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND relkind IN ('r', 'p') AND NOT EXISTS (
        SELECT 1 FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
        AND deptype = 'e'
    )
""")
"""Tables of extensions do not count as another program's."""


def prepare_postgres(url: URL, place: str, *, may_create: bool, may_migrate: bool) -> list[str]:
    """Make sure that the database is there with this program's schema; return what was done.

    Blocks. Raises StoreUnavailableError where it cannot be reached now, and StoreError where it
    cannot be used as it is.
    """
    with transaction_on(url, place, LOOK_LIMIT) as connection:
        state, revision = inspect_postgres(connection, place, HEAD)
    if state is SchemaState.CURRENT:
        return []
    check_may_change(place, state, revision, may_create=may_create, may_migrate=may_migrate)
    found = migrate_postgres(url, place)
    if found is SchemaState.CURRENT:  # another daemon was faster
        return []
    return [f"created {place}" if found is SchemaState.ABSENT else f"migrated {place}"]


def migrate_postgres(
    url: URL, place: str, scripts: Path = MIGRATIONS, head: str = HEAD
) -> SchemaState:
    """Create or migrate the schema in one transaction; return how it compared with ``head``.

    Of several daemons one migrates; the others wait, and then find it current.
    """
    with transaction_on(url, place, MIGRATION_LIMIT) as connection:
        connection.execute(_LOCK)
        state, _ = inspect_postgres(connection, place, head)
        if state is not SchemaState.CURRENT:
            upgrade(connection, place, scripts, head)
    return state


def inspect_postgres(
    connection: Connection, place: str, head: str
) -> tuple[SchemaState, str | None]:
    """Return how the schema compares with ``head``, and its revision.

    Raises StoreError for a database that we must not change.
    """
    version = int(connection.exec_driver_sql("SHOW server_version_num").scalar() or 0)
    if version < OLDEST:
        raise StoreError(f"PostgreSQL {version // 10_000} at {place} is too old; 12 is needed")
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
    if encoding != "UTF8":
        raise StoreError(f"the database {place} has the encoding {encoding}; UTF8 is needed")
    if connection.exec_driver_sql("SELECT current_schema()").scalar() is None:
        raise StoreError(f"the database {place} has no schema on the search_path of our role")
    tables = set(connection.execute(_TABLES).scalars())
    if not tables:
        return SchemaState.ABSENT, None
    found = None
    if tables >= OURS:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if found is None:
        raise StoreError(f"{place} holds tables of another program; nothing was changed")
    revision = str(found)
    return compare(place, revision, head), revision


@contextmanager
def transaction_on(url: URL, place: str, limit: float) -> Iterator[Connection]:
    """Open a transaction on a connection of its own, cut after ``limit`` seconds."""
    engine = create_engine(
        url,
        poolclass=NullPool,
        connect_args=DRIVER,
        use_native_hstore=False,
        hide_parameters=True,
    )
    begin_with_limits(engine, "BEGIN", limit)
    try:
        with translate_errors(place), engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            alarm = Timer(limit, cut_connection, (driver,))
            alarm.daemon = True
            alarm.start()
            try:
                with connection.begin():
                    yield connection
            finally:
                alarm.cancel()
    finally:
        engine.dispose()
