"""The lock that admits one daemon to a SQLite file."""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from reconciler.store.errors import StoreError

TRIES = 3
PAUSE = 0.05
"""Attempts at the lock, and the seconds between them: somebody may just be looking at it."""


class DaemonLock:
    """The lock of the one daemon on a SQLite file; it ends with the process that holds it."""

    def __init__(self, database: Path | None) -> None:
        """``database``: None where several daemons are allowed."""
        self._database = database
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises StoreError, which names the holder."""
        if self._database is None:
            return
        path = self._database.with_name(self._database.name + ".lock")
        try:
            self._fd = self._take_soon(path)
        except BlockingIOError:
            raise StoreError(
                f"another daemon (process {_holder(path)}) uses {self._database}; "
                "several daemons need PostgreSQL"
            ) from None
        except OSError as error:
            raise StoreError(f"cannot lock {path}: {error.strerror}") from error

    def holder(self) -> str | None:
        """Return the process id of the daemon that holds the lock; None where nobody does.

        It is taken for a moment, which a daemon that starts just then waits for.
        """
        if self._database is None:
            return None
        path = self._database.with_name(self._database.name + ".lock")
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # nobody has ever run, or this user may not look
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(path)
        except OSError:
            return None
        finally:
            os.close(fd)
        return None

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _take_soon(self, path: Path) -> int:
        for _ in range(TRIES - 1):
            with suppress(BlockingIOError):
                return self._take(path)
            time.sleep(PAUSE)
        return self._take(path)

    @staticmethod
    def _take(path: Path) -> int:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
        except OSError:
            os.close(fd)
            raise
        return fd


def _holder(path: Path) -> str:
    try:
        return path.read_text("ascii").strip() or "unknown"
    except (OSError, ValueError):
        return "unknown"
