"""Inspects a SQLite store without changing a byte, before anything is done to it."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from stat import S_ISREG
from tempfile import TemporaryDirectory
from typing import NamedTuple

from reconciler.store.errors import StoreError
from reconciler.store.revision import OURS, SchemaState, compare

OLDEST_SQLITE = (3, 35, 0)
"""The first with RETURNING and reliable upserts."""

QUICK_CHECK_LIMIT = 64 * 1024 * 1024
"""Bytes up to which the whole file is checked at each start (0.1 s)."""

ATTEMPTS = 50
PAUSE = 0.05
"""Attempts at a store that others are changing, and the seconds between two."""


class _File(NamedTuple):
    inode: int
    mode: int
    size: int
    changed_at: int


class _Files(NamedTuple):
    database: _File | None
    wal: _File | None
    shm: _File | None


def inspect_sqlite(path: Path, head: str) -> tuple[SchemaState, str | None]:
    """Return how the store's schema compares with ``head``, and its revision.

    Raises StoreError for a file that we must not change.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old; 3.35 or newer is needed")
    looks = 1
    while True:
        files = _files(path)
        try:
            return _inspect(path, files, head)
        except StoreError:
            # Another process may be opening, closing or checkpointing it.
            if looks == ATTEMPTS or _files(path) == files:
                raise
        looks += 1
        time.sleep(PAUSE)


def _inspect(path: Path, files: _Files, head: str) -> tuple[SchemaState, str | None]:
    database = files.database
    if database is None:
        return SchemaState.ABSENT, None
    if not S_ISREG(database.mode):
        raise StoreError(f"the store {path} is not a file; store.url must name one")
    if database.size == 0:
        return SchemaState.ABSENT, None
    try:
        with _opened(path, files) as connection:
            revision = _revision(path, connection, is_small=database.size <= QUICK_CHECK_LIMIT)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
            raise StoreError(f"cannot open the store {path}: {error}") from error
        raise _corrupt(path, str(error)) from error
    except OSError as error:
        raise StoreError(f"cannot open the store {path}: {error.strerror}") from error
    if revision is None:
        return SchemaState.ABSENT, None
    return compare(path, revision, head), revision


def _revision(path: Path, connection: sqlite3.Connection, *, is_small: bool) -> str | None:
    """Return the revision of a store of ours; None for an empty file."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
    if is_small:
        damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise _corrupt(path, damage)
    if not tables:
        return None
    found = None
    if tables >= OURS:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if found is None:
        raise StoreError(f"{path} is a database of another program; nothing was changed")
    return str(found[0])


@contextmanager
def _opened(path: Path, files: _Files) -> Iterator[sqlite3.Connection]:
    """Open the store without changing its bytes or its directory."""
    if files.wal is None or not files.wal.size:
        with _connected(path, "immutable=1") as connection:
            yield connection
    elif files.shm is not None:
        with _connected(path, "mode=ro&readonly_shm=1") as connection:
            yield connection
    else:
        # A WAL cannot be read without an index: SQLite makes one beside hard links of both files.
        with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as directory:
            aside = Path(directory) / "store"
            aside.hardlink_to(path)
            _beside(aside, "-wal").hardlink_to(_beside(path, "-wal"))
            with _connected(aside, "mode=ro") as connection:
                yield connection


def _connected(path: Path, how: str) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True))


def _files(path: Path) -> _Files:
    try:
        return _Files(_file(path), _file(_beside(path, "-wal")), _file(_beside(path, "-shm")))
    except OSError as error:
        raise StoreError(f"cannot open the store {path}: {error.strerror}") from error


def _file(path: Path) -> _File | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _File(found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _corrupt(path: Path, what: str) -> StoreError:
    first = what.splitlines()[0]
    return StoreError(
        f"the store {path} is corrupt ({first}); restore a backup; nothing was changed"
    )
