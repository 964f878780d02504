"""How a command ends that could not do its work: one line on stderr, and an exit code."""

import sys

from reconciler.cli.output import plain

FAILED = 1
USAGE = 2
NOT_FOUND = 3
CONFIG = 78
"""EX_CONFIG of sysexits.h: systemd can tell it from a crash."""


def reason_of(error: OSError) -> str:
    """Return what the system says, and of which file."""
    what = error.strerror or str(error)
    return f"{what}: {error.filename}" if error.filename else what


class CommandError(Exception):
    """Ends the command with ``code`` after saying ``lines``."""

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__(*lines)
        self.code = code
        self.lines = lines


def complain(*lines: str) -> None:
    """Say ``lines`` to a person: on stderr, for stdout carries data only."""
    for line in lines:
        sys.stderr.write(f"reconciler: {plain(line)}\n")
    sys.stderr.flush()
