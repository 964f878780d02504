"""On a failing disk the spool holds every callback that counts as kept, and piles up nothing."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.inbound.spool import Spool
from reconciler.store.inbox import Receipt

Make = Callable[..., Receipt]

DESCRIPTORS = Path("/proc/self/fd")


def path_of(fd: int) -> str:
    return str((DESCRIPTORS / str(fd)).readlink())


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "var" / "spool"


@pytest.fixture
def spool(directory: Path) -> Iterator[Spool]:
    spool = Spool(directory, "mine")
    yield spool
    spool.close()


def drain(spool: Spool) -> tuple[list[Receipt], int]:
    """Everything that can be drained, and how many lines were damaged."""
    files = spool.take()
    receipts = list(spool.read(files))
    for file in files:
        spool.drop(file)
    return receipts, sum(file.damaged for file in files)


def only_file(directory: Path) -> Path:
    (path,) = directory.glob("*.spool")
    return path


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were fsynced, in order; a real fsync is done as well."""
    paths: list[str] = []
    fsync = os.fsync

    def spy(fd: int) -> None:
        fsync(fd)
        paths.append(path_of(fd))

    monkeypatch.setattr("reconciler.inbound.spool.os.fsync", spy)
    return paths


def test_file_and_directories_are_synced_before_a_callback_counts_as_kept(
    spool: Spool, directory: Path, receipt: Make, synced: list[str]
) -> None:
    spool.put_many([receipt("p-1")])

    file = str(only_file(directory))
    assert synced == [str(directory.parent), str(directory.parent.parent), str(directory), file]
    synced.clear()
    spool.put_many([receipt("p-2")])
    assert synced == [file]


def test_a_file_is_removed_durably(
    spool: Spool, directory: Path, receipt: Make, synced: list[str]
) -> None:
    spool.put_many([receipt("p-1")])
    synced.clear()

    drain(spool)

    assert synced == [str(directory)]


def fail_fsync(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    fsync = os.fsync
    failures = iter([OSError(errno.EIO, "Input/output error")] * times)

    def failing(fd: int) -> None:
        if path_of(fd).endswith(".spool") and (failure := next(failures, None)):
            raise failure
        fsync(fd)

    monkeypatch.setattr("reconciler.inbound.spool.os.fsync", failing)


@pytest.mark.fault("the spool", "fails an fsync")
def test_after_a_failed_fsync_a_new_file_is_begun(
    spool: Spool, directory: Path, receipt: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, doubtful, after = receipt("before"), receipt("doubtful"), receipt("after")
    spool.put_many([before])
    fail_fsync(monkeypatch, times=1)
    with pytest.raises(OSError, match="Input/output"):
        spool.put_many([doubtful])

    spool.put_many([after])

    assert len(list(directory.glob("*.spool"))) == 2
    receipts, damaged = drain(spool)
    assert [each for each in receipts if each != doubtful] == [before, after]
    assert damaged == 0


def test_a_disk_that_stays_broken_leaves_no_files_and_no_descriptors_behind(
    spool: Spool, directory: Path, receipt: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.put_many([receipt("p-1")])
    open_before = len(list(DESCRIPTORS.iterdir()))
    fail_fsync(monkeypatch, times=50)
    for number in range(50):
        with pytest.raises(OSError, match="Input/output"):
            spool.put_many([receipt(f"lost-{number}")])

    assert len(list(directory.iterdir())) == 1
    assert len(list(DESCRIPTORS.iterdir())) == open_before


@pytest.mark.fault("the spool", "fails halfway in a write")
def test_a_write_that_fails_halfway_hurts_no_other_callback(
    spool: Spool, receipt: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.put_many([receipt("before")])
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) < 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data[: len(data) // 2])

    monkeypatch.setattr("reconciler.inbound.spool.os.write", full)
    with pytest.raises(OSError, match="No space"):
        spool.put_many([receipt("torn")])
    monkeypatch.undo()
    spool.put_many([receipt("after")])

    receipts, damaged = drain(spool)
    assert [each.process_id for each in receipts] == ["before", "after"]
    assert damaged == 1


def test_a_file_is_never_seen_under_its_name_before_it_is_locked(
    spool: Spool, directory: Path, receipt: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another process could drain and remove it before its owner has the lock."""
    other = Spool(directory, "other")
    flock = fcntl.flock
    taken: list[object] = []

    def spy(fd: int, how: int) -> None:
        taken.extend(other.take())
        flock(fd, how)
        taken.extend(other.take())

    monkeypatch.setattr("reconciler.inbound.spool.fcntl.flock", spy)
    spool.put_many([receipt("p-1")])

    assert taken == []
    monkeypatch.undo()
    assert len(drain(spool)[0]) == 1
