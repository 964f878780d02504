"""Where callbacks wait, fsynced, while the store cannot take them.

One file for each process that writes, locked by it, of lines with a checksum each. Whoever finds
a file whose lock is free drains it: its owner is gone. All methods block; call them in a thread.
"""

import fcntl
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import orjson

from reconciler.store.inbox import Receipt

SUFFIX = ".spool"
POISON = "poison.jsonl"
"""Callbacks that the store refuses for their content: kept for a person to look at."""


class Spool:
    """The spool directory, seen by one process."""

    def __init__(self, directory: Path, owner: str) -> None:
        """``owner`` names this process's files; it must be unique among those alive."""
        self._directory = directory
        self._owner = owner
        self._serial = 0
        self._current: tuple[Path, int] | None = None
        self._full: list[tuple[Path, int]] = []

    def put_many(self, receipts: Sequence[Receipt]) -> None:
        """Make ``receipts`` durable: on disk, fsynced, in a directory that is fsynced too.

        Raises OSError. After a failed fsync nobody knows what the file holds: the next write
        begins a new one.
        """
        path, fd = self._current or self._begin()
        self._current = (path, fd)
        try:
            _write_all(fd, b"".join(map(_line, receipts)))
            os.fsync(fd)
        except OSError:
            self._current = None
            self._full.append((path, fd))
            raise

    def put_poison(self, receipts: Sequence[Receipt]) -> None:
        """Set aside what no retry can bring into the store."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._directory / POISON, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            _write_all(fd, b"".join(map(_line, receipts)))
            os.fsync(fd)
        finally:
            os.close(fd)
        self._sync_directory()

    def take(self) -> list[tuple[Path, int]]:
        """Return the files to drain, locked: our own, and those whose owner is gone.

        New callbacks go to a new file from now on.
        """
        if self._current is not None:
            self._full.append(self._current)
            self._current = None
        files = self._full
        self._full = []
        ours = {path for path, _ in files}
        for path in sorted(self._directory.glob(f"*{SUFFIX}")) if self._directory.is_dir() else ():
            if path in ours:
                continue
            fd = _lock(path)
            if fd is not None:
                files.append((path, fd))
        return files

    def read(self, path: Path) -> tuple[list[Receipt], int]:
        """Return the callbacks of a file and the number of damaged lines skipped."""
        receipts = []
        damaged = 0
        for line in path.read_bytes().split(b"\n"):
            receipt = _parse(line) if line else None
            if receipt is not None:
                receipts.append(receipt)
            elif line:
                damaged += 1
        return receipts, damaged

    def drop(self, path: Path, fd: int) -> None:
        """Remove a drained file, durably."""
        path.unlink(missing_ok=True)
        self._sync_directory()
        os.close(fd)

    def keep(self, path: Path, fd: int) -> None:
        """Put a file back whose draining failed."""
        self._full.append((path, fd))

    def count(self) -> int:
        """Return how many callbacks wait here, whoever wrote them."""
        if not self._directory.is_dir():
            return 0
        files = self._directory.glob(f"*{SUFFIX}")
        return sum(path.read_bytes().count(b"\n") for path in files)

    def probe(self) -> None:
        """Prove that a callback could be kept here: write, fsync, remove. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"{self._owner}.probe"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _write_all(fd, bytes(4096))
            os.fsync(fd)
        finally:
            os.close(fd)
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let the locks go. What is still here is drained by the next daemon."""
        for path, fd in [*self._full, *([self._current] if self._current else [])]:
            empty = os.fstat(fd).st_size == 0
            os.close(fd)
            if empty:
                path.unlink(missing_ok=True)
        self._full, self._current = [], None

    def _begin(self) -> tuple[Path, int]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._serial += 1
        path = self._directory / f"{self._owner}-{self._serial:06}{SUFFIX}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sync_directory()
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return path, fd

    def _sync_directory(self) -> None:
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _lock(path: Path) -> int | None:
    """Lock a file whose owner is gone; None while it lives, or if somebody was faster."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(fd).st_ino:
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    return None


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _line(receipt: Receipt) -> bytes:
    payload = orjson.dumps(
        [
            receipt.receipt_id,
            receipt.received_at,
            receipt.process_id,
            receipt.dossier_id,
            receipt.status,
            receipt.extra,
            receipt.body_sha256.hex(),
        ]
    )
    return b"%08x %s\n" % (zlib.crc32(payload), payload)


def _parse(line: bytes) -> Receipt | None:
    checksum, _, payload = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(payload):
        return None
    try:
        receipt_id, received_at, process_id, dossier_id, status, extra, digest = orjson.loads(
            payload
        )
        return Receipt(
            receipt_id=receipt_id,
            received_at=received_at,
            process_id=process_id,
            dossier_id=dossier_id,
            status=status,
            extra=tuple(extra),
            body_sha256=bytes.fromhex(digest),
        )
    except (ValueError, TypeError):
        return None
