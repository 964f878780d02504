"""An aiosqlite connection that runs each statement in one round trip to its thread.

SQLAlchemy makes a cursor, executes, fetches and closes: each is a message to aiosqlite's thread and
back, and on a busy machine each costs more than the statement. Here the thread does all four at
once; everything else is aiosqlite's.

The reasons: docs/decisions/007.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import aiosqlite

T = TypeVar("T")

_CHUNK = 64  # aiosqlite's own default; nothing here reads in chunks


class _Result(NamedTuple):
    description: Any
    rowcount: int
    lastrowid: int | None
    rows: list[Any]


class _Cursor:
    """The part of a cursor that SQLAlchemy's adapter uses."""

    arraysize = 1

    def __init__(self, connection: "FileConnection") -> None:
        self._connection = connection
        self._result = _Result(None, -1, None, [])

    async def __aenter__(self) -> "_Cursor":
        return self

    @property
    def description(self) -> Any:
        return self._result.description

    @property
    def rowcount(self) -> int:
        return self._result.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._result.lastrowid

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> "_Cursor":
        self._result = await self._connection.run(
            lambda connection: _run_to_end(connection.execute(statement, parameters))
        )
        return self

    async def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> "_Cursor":
        self._result = await self._connection.run(
            lambda connection: _run_to_end(connection.executemany(statement, rows))
        )
        return self

    async def fetchall(self) -> list[Any]:
        return self._result.rows

    async def close(self) -> None:
        """Do nothing: the thread has closed it."""


class FileConnection(aiosqlite.Connection):
    """An aiosqlite connection with such cursors."""

    def __init__(self, path: Path, *, is_frozen: bool) -> None:
        name = f"{path.as_uri()}?immutable=1" if is_frozen else str(path)
        # aiosqlite's thread connects, but SQLAlchemy sets an attribute from ours.
        super().__init__(
            lambda: sqlite3.connect(name, check_same_thread=False, uri=is_frozen), _CHUNK
        )
        self._thread.daemon = True  # as SQLAlchemy does, or a connection left open blocks the exit

    @property
    def is_open(self) -> bool:
        """Whether SQLite has the file open here, however the connection may have ended."""
        try:
            return self._conn.total_changes >= 0
        except (ValueError, sqlite3.Error):  # aiosqlite's ValueError: it has closed it
            return False

    def cursor(self) -> Any:
        """Return one of our cursors."""
        return _Cursor(self)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` on aiosqlite's thread."""
        done: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        return done


def connect_to(path: Path, *, only_reads: bool = False) -> Callable[[], Any]:
    """Return the ``async_creator`` of an engine on ``path``.

    ``only_reads``: where nothing can be written beside the file, it is read as it stands, for
    SQLite could not make its index of the WAL.
    """
    return lambda: FileConnection(path, is_frozen=only_reads and _is_frozen(path))


def _is_frozen(path: Path) -> bool:
    """Tell whether the directory takes no file and there is no WAL that would be left out."""
    wal = path.with_name(path.name + "-wal")
    is_empty = not wal.exists() or not wal.stat().st_size
    return is_empty and path.exists() and not os.access(path.parent, os.W_OK)


def _run_to_end(cursor: sqlite3.Cursor) -> _Result:
    """Return the whole result of a statement and close it. Runs on aiosqlite's thread."""
    try:
        rows = cursor.fetchall() if cursor.description else []
        return _Result(cursor.description, cursor.rowcount, cursor.lastrowid, rows)
    finally:
        cursor.close()
