"""Notices that the files of an open store were removed or replaced.

SQLite goes on in files that nobody can reach any more, and its commits are gone with the process.
"""

from pathlib import Path

from reconciler.store.errors import StoreUnavailableError

Identity = tuple[int, int]
"""Device and inode."""

REPLACED = "replaced"


class FileIdentity:
    """The identity of a store's files since they were opened."""

    def __init__(self, path: Path, *, with_wal: bool) -> None:
        """``with_wal``: the two files beside it stay as long as we have it open."""
        names = ("", "-wal", "-shm") if with_wal else ("",)
        self._paths = [path.with_name(path.name + suffix) for suffix in names]
        self._known: dict[Path, Identity] = {}

    def check(self) -> None:
        """Learn the files that are new; StoreUnavailableError where a known one is another now."""
        for path in self._paths:
            found = _identity(path)
            known = self._known.get(path)
            if known is None and found is not None:
                self._known[path] = found
            elif found != known:
                how = "removed" if found is None else REPLACED
                raise StoreUnavailableError(
                    f"{REPLACED}: {path} was {how} while it was open; restart the daemon"
                )

    def forget_wal(self) -> None:
        """Learn the WAL anew, which SQLite removes with the last connection."""
        for path in self._paths[1:]:
            self._known.pop(path, None)


def _identity(path: Path) -> Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
