"""The spool: files in which callbacks wait, fsynced, while the store cannot take them.

Each process that writes has a file of its own and locks it. A file whose lock is free has lost its
owner, and any daemon drains it. Each line has a checksum. All methods block: call them in a thread.
"""

import errno
import fcntl
import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from pathlib import Path

import orjson

from reconciler.runtime.disk import sync_directory
from reconciler.store.inbox import Receipt

SUFFIX = ".spool"
POISON = "poison.jsonl"
"""The file for callbacks that the store refuses for their content; a person looks at it."""

_NEW = ".new"


@dataclass(slots=True)
class SpoolFile:
    """An open spool file that this process has locked."""

    path: Path
    fd: int
    acknowledged: bool = False
    """Whether it may hold a callback that was answered 200; else it can be thrown away."""
    damaged: int = 0
    """Lines that were torn or failed their checksum, once it has been read."""


class Spool:
    """The spool directory, seen by one process."""

    def __init__(self, directory: Path, owner: str) -> None:
        """``owner`` names this process's files; it must be unique among those alive."""
        self.directory = directory
        self._owner = owner
        self._serial = 0
        self._current: SpoolFile | None = None
        self._full: list[SpoolFile] = []
        self._lock = threading.Lock()
        """A file is taken for draining only when nobody is writing to it."""

    def put_many(self, receipts: Sequence[Receipt]) -> None:
        """Make ``receipts`` durable: on disk, fsynced, in a directory that is fsynced too.

        Raises OSError. After a failed fsync nobody knows what the file holds, so the next write
        begins a new one.
        """
        with self._lock:
            if self._current is not None and not _is_there(self._current):
                os.close(self._current.fd)  # nobody would find a callback that is written to it now
                self._current = None
            file = self._current = self._current or self._begin()
            try:
                _write_all(file.fd, b"".join(map(encode_line, receipts)))
                os.fsync(file.fd)
                _refuse_if_gone(file)
            except OSError:
                self._current = None
                if file.acknowledged:
                    self._full.append(file)
                else:
                    os.close(file.fd)
                    file.path.unlink(missing_ok=True)
                raise
            file.acknowledged = True

    def put_poison(self, receipts: Sequence[Receipt]) -> None:
        """Set ``receipts`` aside that no retry can bring into the store. Raises OSError."""
        self._make_directory()
        fd = os.open(self.directory / POISON, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            _write_all(fd, b"".join(map(encode_line, receipts)))
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_directory(self.directory)

    def is_empty(self) -> bool:
        """Tell whether no callback waits here, whoever wrote it. Raises OSError."""
        return not self._files()

    def take(self) -> list[SpoolFile]:
        """Return the files to drain, locked: our own and those whose owner is gone.

        New callbacks go to a new file from now on. Raises OSError.
        """
        with self._lock:
            if self._current is not None:
                self._full.append(self._current)
                self._current = None
            ours = {file.path for file in self._full}
            for path in self._files():
                fd = None if path in ours else _lock(path)
                if fd is not None:
                    self._full.append(SpoolFile(path, fd))
            files, self._full = self._full, []
            return files

    def read(self, files: Sequence[SpoolFile]) -> Iterator[Receipt]:
        """Iterate over the callbacks of all ``files`` in the order of their arrival."""
        return merge(*map(_receipts, files), key=lambda r: (r.received_at, r.receipt_id))

    def drop(self, file: SpoolFile) -> None:
        """Remove a drained file, durably. Raises OSError."""
        file.path.unlink(missing_ok=True)
        sync_directory(self.directory)
        os.close(file.fd)

    def keep(self, files: Sequence[SpoolFile]) -> None:
        """Put files back whose draining failed."""
        with self._lock:
            self._full.extend(files)

    def count(self) -> int:
        """Return how many callbacks wait here, whoever wrote them.

        Raises OSError, also for the file of another user, which ``take`` has to leave alone.
        """
        return sum(_lines(path) for path in self._files())

    def probe(self) -> None:
        """Prove that a callback could be kept here: write, fsync, remove. Raises OSError."""
        self._make_directory()
        path = self.directory / f"{self._owner}.probe"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _write_all(fd, bytes(4096))
            os.fsync(fd)
        finally:
            os.close(fd)
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the locks. The next daemon drains the rest."""
        if not self._lock.acquire(blocking=False):
            return  # a write hangs on a dead disk; the locks end with the process
        for file in [*self._full, *([self._current] if self._current else [])]:
            os.close(file.fd)
        self._full, self._current = [], None
        self._lock.release()

    def _files(self) -> list[Path]:
        """List the files; unlike ``glob``, this fails for a directory that cannot be read."""
        try:
            return sorted(path for path in self.directory.iterdir() if path.suffix == SUFFIX)
        except FileNotFoundError:
            return []

    def _begin(self) -> SpoolFile:
        """Create a file that gets its name only when it is locked."""
        self._make_directory()
        self._serial += 1
        path = self.directory / f"{self._owner}-{self._serial:06}{SUFFIX}"
        new = path.with_suffix(_NEW)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.rename(path)
            sync_directory(self.directory)
        except OSError:
            os.close(fd)
            new.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            raise
        return SpoolFile(path, fd)

    def _make_directory(self) -> None:
        """Create the directory durably."""
        missing = [path for path in (self.directory, *self.directory.parents) if not path.exists()]
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in missing:
            sync_directory(path.parent)


def _is_there(file: SpoolFile) -> bool:
    """Tell whether the open file still has its name: a person may have removed it."""
    try:
        named, held = file.path.stat(), os.fstat(file.fd)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)


def _refuse_if_gone(file: SpoolFile) -> None:
    if not _is_there(file):
        raise OSError(errno.ENOENT, "the spool was taken away meanwhile")


def _receipts(file: SpoolFile) -> Iterator[Receipt]:
    file.damaged = 0
    try:
        lines = file.path.open("rb")
    except FileNotFoundError:  # somebody has removed it by hand
        return
    with lines:
        for line in lines:
            receipt = decode_line(line.removesuffix(b"\n"))
            if receipt is not None:
                yield receipt
            else:
                file.damaged += 1


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:  # drained meanwhile
        return 0


def _lock(path: Path) -> int | None:
    """Lock a file whose owner is gone; None while it lives, or where we may not read the file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
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


def encode_line(receipt: Receipt) -> bytes:
    """Return the line for ``receipt``, with its line feed."""
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


def decode_line(line: bytes) -> Receipt | None:
    """Return the receipt of a line without its line feed; None if the line is damaged."""
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
