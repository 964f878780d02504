"""Bring a store to this program's schema. Alembic is imported only when there is work for it."""

import sqlite3
from contextlib import closing
from enum import Enum, auto
from pathlib import Path

from reconciler.store.errors import StoreError

HEAD = "0001"
"""The revision this program writes and reads; a test holds it against the migrations."""

MIGRATIONS = Path(__file__).parent / "migrations"
QUICK_CHECK_LIMIT = 64 * 1024 * 1024
"""Bytes up to which the whole file is checked at each start (about 0.1 s)."""


class SchemaState(Enum):
    """What a look at the store has shown."""

    ABSENT = auto()
    OLDER = auto()
    CURRENT = auto()


def inspect_sqlite(path: Path, head: str = HEAD) -> tuple[SchemaState, str | None]:
    """Look at the file without changing a byte; StoreError if we must not touch it.

    Returns how its schema stands to ours, and its revision.
    """
    if not path.exists():
        return SchemaState.ABSENT, None
    if path.is_dir():
        raise StoreError(f"the store {path} is a directory; store.url must name a file")
    if path.stat().st_size == 0:
        return SchemaState.ABSENT, None
    wal = path.with_name(path.name + "-wal")
    mode = "mode=ro" if wal.exists() else "immutable=1"  # mode=ro alone would leave a -shm behind
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
            small = path.stat().st_size <= QUICK_CHECK_LIMIT
            damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if small else "ok"
            if damage != "ok":
                raise StoreError(_corrupt(path, damage))
            if "alembic_version" not in tables:
                if tables:
                    raise StoreError(
                        f"{path} is a database of another program; nothing was changed"
                    )
                return SchemaState.ABSENT, None
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
            raise StoreError(f"cannot open the store {path}: {error}") from error
        raise StoreError(_corrupt(path, str(error))) from error
    if found is None:
        return SchemaState.ABSENT, None
    revision = str(found[0])
    if revision == head:
        return SchemaState.CURRENT, revision
    if revision > head:
        raise StoreError(
            f"the store {path} has schema {revision}, newer than this program's {head}; "
            "run the newer program, or restore a backup; nothing was changed"
        )
    return SchemaState.OLDER, revision


def _corrupt(path: Path, what: str) -> str:
    first = what.splitlines()[0]
    return f"the store {path} is corrupt ({first}); restore a backup; nothing was changed"


def migrate_sqlite(path: Path, scripts: Path = MIGRATIONS, head: str = HEAD) -> str | None:
    """Create or upgrade the store. Returns the path of the backup made of existing data, if any.

    Raises StoreError; the migration is one transaction, so a failed one changes nothing.
    """
    state, revision = inspect_sqlite(path, head)
    if state is SchemaState.CURRENT:
        return None
    backup = None
    if state is SchemaState.OLDER:
        backup = path.with_name(f"{path.name}.{revision}.bak")
        _copy(path, backup)
    _upgrade(path, scripts)
    return None if backup is None else str(backup)


def _copy(path: Path, backup: Path) -> None:
    """Write a consistent copy: what a crash half-way leaves never bears the final name."""
    part = backup.with_name(backup.name + ".part")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(part)) as target:
        source.backup(target)
    part.replace(backup)


def _upgrade(path: Path, scripts: Path) -> None:
    from alembic import command  # noqa: PLC0415 (a third of a second that a start must not pay)
    from alembic.config import Config  # noqa: PLC0415
    from sqlalchemy import NullPool, create_engine, event  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)

    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA busy_timeout=10000")

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DBAPIError as error:
        raise StoreError(f"cannot migrate the store {path}: {error.orig}") from error
    finally:
        engine.dispose()
