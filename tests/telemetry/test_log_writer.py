"""LineWriter writes to real pipes and a real full device, or to a stand-in for os.write."""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from reconciler.telemetry.writer import CHUNK, LineWriter


class Collector:
    """Stands for os.write: takes everything, at most ``most`` bytes a call."""

    def __init__(self, most: int = 10**9) -> None:
        self.most = most
        self.writes: list[bytes] = []
        self.failures: list[OSError | None] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, _fd: int, data: memoryview) -> int:
        self.gate.wait(10)
        failure = self.failures.pop(0) if self.failures else None
        if failure:
            raise failure
        self.writes.append(bytes(data[: self.most]))
        return len(self.writes[-1])

    @property
    def text(self) -> bytes:
        return b"".join(self.writes)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe of 4 KiB."""
    read_fd, write_fd = os.pipe()
    fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, 4096)
    yield read_fd, write_fd
    os.close(write_fd)
    with suppress(OSError):  # a test may have hung up
        os.close(read_fd)


def silent(_lost: int) -> None:
    """Announce nothing."""


def read_all(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, 65536):
        parts.append(part)
    return b"".join(parts)


def read_while(fd: int, write_fd: int, act: Callable[[], None]) -> bytes:
    """Read from ``fd`` until ``act`` is done and the other end is closed."""
    with ThreadPoolExecutor(1) as reader:
        everything = reader.submit(read_all, os.dup(fd))
        act()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, write_fd)  # closes the pipe's writing end, keeps the number
        os.close(null)
        return everything.result(10)


@pytest.mark.fault("the log", "has a reader that stalls")
def test_a_stalled_reader_blocks_nobody_and_what_is_lost_is_counted_and_announced(
    pipe: tuple[int, int],
) -> None:
    read_fd, write_fd = pipe

    def announce(lost: int) -> None:
        writer.write(b"lost %d\n" % lost)

    writer = LineWriter(write_fd, announce=announce, capacity=100)
    for number in range(3000):  # nobody reads: this would hang for ever if it could block
        writer.write(b"line %d %s\n" % (number, b"x" * 50))
    dropped = writer.dropped
    lines = read_while(read_fd, write_fd, lambda: writer.close(10)).splitlines()

    kept = [int(line.split()[1]) for line in lines if line.startswith(b"line")]
    announced = [int(line.split()[1]) for line in lines if line.startswith(b"lost")]
    assert dropped > 2000
    assert kept == sorted(kept)
    assert len(kept) + dropped == 3000
    assert sum(announced) == dropped == writer.dropped


def test_the_lines_of_a_burst_leave_in_few_writes() -> None:
    put = Collector()
    put.gate.clear()
    writer = LineWriter(1, announce=silent, put=put)
    lines = [b"line %d %s\n" % (number, b"x" * 200) for number in range(2000)]
    for line in lines:
        writer.write(line)
    put.gate.set()
    writer.close(10)

    assert put.text == b"".join(lines)
    assert len(put.writes) <= 2 + len(put.text) // (CHUNK - 250)
    for data in put.writes:
        assert len(data) <= CHUNK
        assert data.endswith(b"\n")


def test_a_lonely_line_leaves_at_once_and_those_of_the_pause_after_it_together() -> None:
    put = Collector()
    writer = LineWriter(1, announce=silent, pause=60, put=put)
    writer.write(b"alone\n")
    wait_until(lambda: put.writes == [b"alone\n"])
    lines = [b"line %d\n" % number for number in range(100)]
    for line in lines:
        writer.write(line)
    writer.close(10)
    assert put.writes == [b"alone\n", b"".join(lines)]


def test_a_line_longer_than_a_chunk_leaves_whole() -> None:
    put = Collector()
    writer = LineWriter(1, announce=silent, put=put)
    long_line = b"y" * (2 * CHUNK) + b"\n"
    for line in (b"a\n", long_line, b"b\n"):
        writer.write(line)
    writer.close(10)
    assert put.text == b"a\n" + long_line + b"b\n"


def test_a_stream_that_takes_a_few_bytes_at_a_time_gets_every_line() -> None:
    put = Collector(most=7)
    writer = LineWriter(1, announce=silent, put=put)
    lines = [b"line %d\n" % number for number in range(50)]
    for line in lines:
        writer.write(line)
    writer.close(10)
    assert put.text == b"".join(lines)
    assert writer.dropped == 0


def test_a_non_blocking_pipe_gets_every_line(pipe: tuple[int, int]) -> None:
    read_fd, write_fd = pipe
    os.set_blocking(write_fd, False)
    writer = LineWriter(write_fd, announce=silent)
    lines = [b"line %d %s\n" % (number, b"z" * 90) for number in range(1000)]
    for line in lines:
        writer.write(line)
    assert read_while(read_fd, write_fd, lambda: writer.close(10)) == b"".join(lines)


def test_a_reader_that_has_gone_raises_nothing_and_everything_is_counted(
    pipe: tuple[int, int],
) -> None:
    read_fd, write_fd = pipe
    os.close(read_fd)
    announced: list[int] = []
    writer = LineWriter(write_fd, announce=announced.append)
    for _ in range(10):
        writer.write(b"line\n")
    writer.close(10)
    assert writer.dropped == 10
    assert announced == []


def test_a_full_disk_loses_lines_and_is_tried_again() -> None:
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123 - a device
        writer = LineWriter(full.fileno(), announce=silent)
        for _ in range(10):
            writer.write(b"line\n")
        writer.close(10)
    assert writer.dropped == 10


def test_after_a_torn_line_the_next_one_begins_on_its_own_and_the_loss_is_told() -> None:
    put = Collector(most=6)
    announced: list[int] = []
    told = threading.Event()

    def announce(lost: int) -> None:
        announced.append(lost)
        told.set()

    put.failures = [None, OSError(errno.ENOSPC, "full"), OSError(errno.ENOSPC, "full")]
    put.gate.clear()
    writer = LineWriter(1, announce=announce, put=put)
    writer.write(b"first line\n")
    put.gate.set()
    wait_until(lambda: writer.dropped == 1)  # torn
    writer.write(b"second line\n")
    wait_until(lambda: writer.dropped == 2)  # not begun
    writer.write(b"third line\n")
    assert told.wait(10)
    writer.close(10)
    assert put.text == b"first \nthird line\n"
    assert announced == [2]


def test_closing_does_not_wait_longer_than_told_for_a_stalled_reader(
    pipe: tuple[int, int],
) -> None:
    read_fd, write_fd = pipe
    writer = LineWriter(write_fd, announce=silent)
    for _ in range(200):
        writer.write(b"x" * 99 + b"\n")
    begun = time.monotonic()
    writer.close(0.2)
    assert time.monotonic() - begun < 5
    os.close(read_fd)  # lets the thread end
    writer.close(10)
    assert writer.dropped > 0


def test_a_line_after_closing_is_counted_as_lost() -> None:
    put = Collector()
    writer = LineWriter(1, announce=silent, put=put)
    writer.write(b"before\n")
    writer.close(10)
    writer.write(b"after\n")
    assert put.text == b"before\n"
    assert writer.dropped == 1


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for another thread, ten seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
