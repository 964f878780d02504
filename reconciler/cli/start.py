"""The first moments of a process, before anything heavy is imported: signals, streams, the zone."""

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

_STOPS = (signal.SIGTERM, signal.SIGINT)


class StartSignals:
    """Hears SIGTERM, SIGINT and SIGHUP until the daemon's loop does.

    Nobody else would: the first process of a container has no default for SIGTERM, and the others
    would end with a code or a traceback that looks like a failure.
    """

    def __init__(self) -> None:
        self.is_open = False
        """Set once the start has something to close: then a stop only raises ``is_stopping``."""
        self.is_stopping = False
        self.wants_reload = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take one signal. The first stop ends with 0, a second one at once."""
        if number == signal.SIGHUP:
            self.wants_reload = True
        elif self.is_stopping:
            os._exit(1)
        elif self.is_open:
            self.is_stopping = True
        else:
            os._exit(0)

    @classmethod
    @contextmanager
    def heard(cls) -> Iterator[None]:
        """Hear signals in the block."""
        signals = cls()
        before = {number: signal.signal(number, signals) for number in (*_STOPS, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @classmethod
    def present(cls) -> "StartSignals":
        """Return who hears now."""
        handler = signal.getsignal(signal.SIGHUP)
        return handler if isinstance(handler, cls) else cls()


def command_of(arguments: Sequence[str]) -> str:
    """Return the command's name, or nothing."""
    rest = iter(arguments)
    for argument in rest:
        if argument == "--config":
            next(rest, None)
        elif not argument.startswith("-"):
            return argument
    return ""


def replace_closed_streams(*, may_write: bool) -> bool:
    """Put the null device in place of stdin, stdout and stderr where they are closed.

    Else the next file that is opened would be taken for one of them: the ledger for stdout.
    ``may_write``: False where what is written to a closed stdout must fail (EBADF) and not get
    lost. Return whether stdout was closed.
    """
    was_closed = _is_closed(1)
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if _is_closed(fd):
            reads = fd == 0 or (fd == 1 and not may_write)
            os.open(os.devnull, os.O_RDONLY if reads else os.O_WRONLY)  # it gets the lowest: fd
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, "w" if fd else "r", closefd=False))  # noqa: SIM115
    return was_closed


def drop_stdout() -> None:
    """Let what stdout still holds get lost, or the interpreter would try again at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def leave_leap_seconds() -> None:
    """Use UTC where the zone counts leap seconds (TZ=right/…).

    There a time does not survive the way to a date in UTC and back, by 27 seconds. APScheduler
    would look for the next time of a job for ever, and every time of ours would be wrong.
    """
    if time.gmtime(1_000_000_000).tm_sec != 40:
        os.environ["TZ"] = "UTC"
        time.tzset()


def _is_closed(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return True
    return False
