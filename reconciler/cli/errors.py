"""Messages on stderr, and the end of a failed command: its lines and its exit code."""

import sys

from reconciler.cli.output import plain

FAILED = 1
USAGE = 2
NOT_FOUND = 3
CONFIG = 78
"""EX_CONFIG of sysexits.h: systemd can tell it from a crash."""


def reason_of(error: OSError) -> str:
    """Return the system's message, with the file that it is about."""
    what = error.strerror or str(error)
    return f"{what}: {error.filename}" if error.filename else what


class CommandError(Exception):
    """Ends the command with ``code`` after printing ``lines``."""

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__(*lines)
        self.code = code
        self.lines = lines


def say(*lines: str) -> None:
    """Print ``lines`` for a person: on stderr, for stdout carries data only."""
    for line in lines:
        sys.stderr.write(f"reconciler: {plain(line)}\n")
    sys.stderr.flush()
