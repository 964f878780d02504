"""Notices that the files of an open store were removed or replaced.

SQLite goes on in files that nobody can reach any more, and its commits are gone with the process.
"""

import os
from pathlib import Path
from weakref import WeakSet

from reconciler.store.errors import StoreUnavailableError
from reconciler.store.sqlite.connection import FileConnection

Identity = tuple[int, int]
"""Device and inode."""

REPLACED = "replaced"


class FileIdentity:
    """The identity of a store's files since they were opened.

    SQLite itself removes the WAL and its index with the last connection, and makes new ones with
    the next. So theirs holds only while one of ``connections`` is open.
    """

    def __init__(self, path: Path, *, with_wal: bool) -> None:
        """``with_wal``: nobody but us removes the two files beside it."""
        self._path = str(path)
        self._beside = [f"{path}{suffix}" for suffix in (("-wal", "-shm") if with_wal else ())]
        self._known: dict[str, Identity] = {}
        self._connections: WeakSet[FileConnection] = WeakSet()

    def opened(self, connection: FileConnection) -> None:
        """Take note of a connection to the store."""
        self._forget_unheld()
        self._connections.add(connection)

    def check(self) -> None:
        """Learn the files that are new; StoreUnavailableError where a known one is another now."""
        for path in (self._path, *self._beside):
            found = _identity(path)
            if found == self._known.get(path):
                continue
            if path != self._path:
                self._forget_unheld()
            known = self._known.get(path)
            if known is None and found is not None:
                self._known[path] = found
            elif found != known:
                how = "removed" if found is None else REPLACED
                raise StoreUnavailableError(
                    f"{REPLACED}: {path} was {how} while it was open; restart the daemon"
                )

    def _forget_unheld(self) -> None:
        """Forget the WAL and its index where no connection has been open all the time."""
        if not any(connection.is_open for connection in self._connections):
            for path in self._beside:
                self._known.pop(path, None)


def _identity(path: str) -> Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - after each commit, and pathlib takes twice the time
    except OSError:
        return None
    return found.st_dev, found.st_ino
