"""Backs up a live SQLite store, beside the daemon that uses it.

https://www.sqlite.org/backup.html

The reasons: docs/decisions/022.
"""

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.runtime.disk import sync_directory
from reconciler.store.errors import StoreError
from reconciler.store.revision import HEAD
from reconciler.store.schema import metadata

PAGES = 200
"""Pages (0.8 MB) in one step."""

PAUSE = 0.002
"""Seconds between two steps, in which only the daemon uses the disk."""

BESIDE = ("", "-wal", "-shm", "-journal", ".lock")
"""The suffixes of the files of a store."""

_TABLES = sorted(metadata.tables)


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished backup, checked and fsynced."""

    path: Path
    size: int
    """In bytes."""
    revision: str
    rows: dict[str, int]
    """The number of rows by table."""


def back_up(
    store: Path,
    target: Path,
    *,
    force: bool,
    on_step: Callable[[int, int], None],
) -> Backup:
    """Copy ``store`` to ``target``: consistent, checked, fsynced, readable by its owner only.

    Blocks. ``on_step`` gets the number of pages done and of all pages; an exception of it ends the
    backup. In any case ``target`` is either as it was or a good copy. ``force`` replaces an
    existing file. Raises StoreError.
    """
    _refuse(store, target, force=force)
    try:
        with _part_of(target) as part:
            rows = _copied(store, part, on_step)
            revision = _checked(part, rows)
            size = _synced(part)
            _refuse(store, target, force=force)  # a file may have been made meanwhile
            part.replace(target)
            sync_directory(target.parent)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise StoreError(f"cannot write {target}: {error}") from error
    return Backup(target, size, revision, rows)


def _refuse(store: Path, target: Path, *, force: bool) -> None:
    own = {os.path.realpath(store.with_name(store.name + suffix)) for suffix in BESIDE}
    if os.path.realpath(target) in own:
        raise StoreError(f"{target} belongs to the store itself; name another file")
    if target.is_dir():
        raise StoreError(f"{target} is a directory; name a file in it")
    if not force and os.path.lexists(target):
        raise StoreError(f"{target} exists; --force replaces it")


@contextmanager
def _part_of(target: Path) -> Iterator[Path]:
    """Yield a new file beside ``target``, on the same disk; it is removed after a failure."""
    fd, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(fd)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _copied(store: Path, part: Path, on_step: Callable[[int, int], None]) -> dict[str, int]:
    """Copy, and return the number of rows by table in the copied state."""
    with (
        closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(part)) as copy,
    ):
        source.isolation_level = None
        # Without a read transaction each write of the daemon would restart the copy
        # . Nobody waits for a reader of a WAL.
        source.execute("BEGIN")
        rows = _counted(source)
        copy.execute("PRAGMA journal_mode=OFF")  # a partial copy is worth nothing
        copy.execute("PRAGMA synchronous=OFF")
        source.backup(
            copy,
            pages=PAGES,
            progress=lambda _, left, total: on_step(total - left, total),
            sleep=PAUSE,
        )
    return rows


def _checked(part: Path, rows: dict[str, int]) -> str:
    """Check the copy and return its revision."""
    with closing(sqlite3.connect(f"{part.as_uri()}?mode=ro&immutable=1", uri=True)) as copy:
        damage = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if damage != "ok":
            raise StoreError(f"the copy is damaged, and so may the store be: {damage}")
        revision = str(copy.execute("SELECT version_num FROM alembic_version").fetchone()[0])
        if revision != HEAD or _counted(copy) != rows:
            raise StoreError("the copy is not the same as the store; nothing was written")
    return revision


def _counted(connection: sqlite3.Connection) -> dict[str, int]:
    return {
        table: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 (our own names)
        for table in _TABLES
    }


def _synced(part: Path) -> int:
    with part.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size
