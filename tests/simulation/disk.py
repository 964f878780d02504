"""aiosqlite without its thread: its queue is worked off on the loop, as slowly as the disk is.

aiosqlite itself, SQLAlchemy and SQLite are the real ones. In a daemon each call goes through a
queue to a thread, which makes one at a time; here the loop makes them, one at a time for each
connection, in the same order, after as many other steps or as much time as the run has drawn. A
call that was handed over is made even if nobody waits for it any more, as the thread does. So
whatever can come between two calls in a daemon can come between them here.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from reconciler.store.sqlite.connection import FileConnection

_SAFE = {"close", "rollback"}
"""The calls that never fail: SQLite ends a transaction whatever its disk does."""


class Disk:
    """How the disk of the store is, and all connections to it."""

    def __init__(self, draw: Random) -> None:
        self._draw = draw
        self.error: str | None = None
        """The error with which all calls fail now."""
        self.is_slow = False
        self.open: set[sqlite3.Connection] = set()

    def connect_to(self, path: Path, *, only_reads: bool = False) -> Callable[[], Any]:
        """Return the ``async_creator`` of an engine on ``path``, as the daemon's does."""
        return lambda: _OnTheLoop(path, self)

    def delay(self) -> float:
        """Return the seconds that the next call takes; 0: the next step of the loop."""
        if self.is_slow:
            return self._draw.choice((0.05, 0.5, 5.0))
        return self._draw.choice((0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.001, 0.02))

    def make(self, function: Callable[[], Any]) -> Any:
        """Make a call, or fail as the disk does now: before it, or although it was made."""
        name = getattr(getattr(function, "func", function), "__name__", "")
        if self.error is None or name in _SAFE:
            return function()
        if self._draw.random() < 0.3:
            function()
        raise sqlite3.OperationalError(self.error)

    def crash(self) -> None:
        """Close all connections as a killed process does: what is not committed is gone."""
        for connection in self.open:
            connection.close()
        self.open.clear()


class _Queue:
    """Stands for the queue between aiosqlite and its thread."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._loop = asyncio.get_running_loop()
        self._calls: deque[tuple[asyncio.Future[Any] | None, Callable[[], Any]]] = deque()
        self._is_working = False

    def put_nowait(self, call: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        self._calls.append(call)
        if not self._is_working:
            self._is_working = True
            self._schedule()

    def _schedule(self) -> None:
        delay = self._disk.delay()
        if delay:
            self._loop.call_later(delay, self._work)
        else:
            self._loop.call_soon(self._work)

    def _work(self) -> None:
        future, function = self._calls.popleft()
        try:
            result = self._disk.make(function)
        except Exception as error:  # noqa: BLE001 (handed over, as the thread does)
            if future is not None and not future.done():
                future.set_exception(error)
        else:
            if future is not None and not future.done():
                future.set_result(result)
        if self._calls:
            self._schedule()
        else:
            self._is_working = False


class _NoThread:
    daemon = True

    def start(self) -> None:
        pass


class _OnTheLoop(FileConnection):
    def __init__(self, path: Path, disk: Disk) -> None:
        super().__init__(path, is_frozen=False)
        connect = self._connector

        def connected() -> sqlite3.Connection:
            if disk.error is not None:
                raise sqlite3.OperationalError(disk.error)
            connection = connect()
            disk.open.add(connection)
            return connection

        self._connector = connected
        self._disk = disk
        self._tx = _Queue(disk)  # type: ignore[assignment]
        self._thread = _NoThread()  # type: ignore[assignment]

    def __del__(self) -> None:
        """Say nothing: after a crash nobody closes it."""
