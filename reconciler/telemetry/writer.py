"""Writes lines to a file descriptor in a thread of its own, without making the caller wait.

The reasons: docs/decisions/029.
"""

import errno
import os
import select
import threading
from collections import deque
from collections.abc import Callable

CAPACITY = 10_000
"""Lines. A line that does not fit is dropped and counted."""

CHUNK = 64 * 1024
"""Bytes of one write, unless a single line is longer."""

PAUSE = 0.01
"""Seconds between two writes. A line that comes alone leaves at once; under load, to wake the
thread for each line would cost the caller more than the line."""

_NEWLINE = ord("\n")
_GONE = {errno.EPIPE, errno.EIO, errno.EBADF}


class LineWriter:
    """A bounded queue, and a daemon thread that joins queued lines into few writes.

    A reader that stalls fills the queue; then lines are lost, not time. When the stream moves
    again, ``announce`` is called on the writer's thread with the number of lines lost since it
    was last called, and may call ``write``. A stream that is gone (nobody reads the pipe any
    more) loses everything from then on, quietly.
    """

    def __init__(
        self,
        fd: int,
        *,
        announce: Callable[[int], None],
        capacity: int = CAPACITY,
        pause: float = PAUSE,
        put: Callable[[int, memoryview], int] = os.write,
    ) -> None:
        """Start the thread. ``put`` writes to ``fd`` and returns how many bytes it took."""
        self._fd, self._put = fd, put
        self._announce = announce
        self._capacity = capacity
        self._pause = pause
        self._queue: deque[bytes] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._counting = threading.Lock()
        self._dropped = 0
        self._announced = 0
        self._gone = False
        self._torn = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines lost so far."""
        return self._dropped

    def write(self, line: bytes) -> None:
        """Queue one line, which ends with a newline. Never blocks and never raises."""
        has_room = len(self._queue) < self._capacity and not self._closing.is_set()
        if has_room or threading.current_thread() is self._thread:
            self._queue.append(line)
            if not self._wake.is_set():
                self._wake.set()
        else:
            self._count_dropped(1)

    def close(self, timeout: float) -> None:
        """Write what is queued, for at most ``timeout`` seconds; then leave the rest."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout)

    def _count_dropped(self, lines: int) -> None:
        with self._counting:
            self._dropped += lines

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()  # before the queue is looked at: a later line wakes us again
            self._empty()
            self._closing.wait(self._pause)
        self._empty()

    def _empty(self) -> None:
        """Write what is queued, and announce the loss behind it once the stream moves."""
        while self._queue:
            lines = self._chunk()
            unwritten = min(self._write_out(b"".join(lines)), len(lines))
            self._count_dropped(unwritten)
            lost = self._dropped - self._announced
            if lost and not unwritten:  # else the announcement would be lost too
                self._announced += lost
                self._announce(lost)

    def _chunk(self) -> list[bytes]:
        lines = [self._queue.popleft()]
        size = len(lines[0])
        while self._queue and size + len(self._queue[0]) <= CHUNK:
            lines.append(self._queue.popleft())
            size += len(lines[-1])
        return lines

    def _write_out(self, chunk: bytes) -> int:
        """Write ``chunk`` and return how many line ends of it did not get out."""
        if self._torn:  # the last line broke off; the next must not continue it
            chunk = b"\n" + chunk
        rest = memoryview(chunk)
        while rest and not self._gone:
            try:
                written = self._put(self._fd, rest)
            except BlockingIOError:  # somebody made the terminal or pipe non-blocking
                self._wait_until_writable()
            except OSError as error:
                self._gone = error.errno in _GONE
                break
            else:
                self._torn = rest[written - 1] != _NEWLINE
                rest = rest[written:]
        return bytes(rest).count(b"\n")

    def _wait_until_writable(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        poll.poll()
