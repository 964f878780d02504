"""``python -m tests.mutants [NAME…]``: break a copy of the project, and see that tests notice.

Exit code 1 if a break survives, if a command fails without a break, or if a break has rotted.
"""

import argparse
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from tests.mutants.breaks import ALL, Break
from tests.mutants.copies import BreakError, Result, copied

CAUGHT = 1
"""The exit code of pytest for a failed test, and of the simulation for a broken promise."""

_FAILED = re.compile(
    r"^(?:(?:FAILED|ERROR) (\S+)|(seed \d+: .*)|tests\.torture\.lives\.TortureError: (.*))",
    re.MULTILINE,
)
"""Of pytest, the simulation and the crash tests: what they name first."""

Say = Callable[[str], None]


def try_all(breaks: Sequence[Break], say: Say) -> list[tuple[str, str, str, float]]:
    """Return break, command, the test that failed ("": it survived) and seconds, for each pair.

    Raises BreakError where that would mean nothing.
    """
    check_health(breaks, say)
    rows = []
    for each in breaks:
        with copied(each.edits) as copy:
            for command in each.caught_by:
                begun = time.monotonic()
                result = copy.run(shlex.split(command))
                took = time.monotonic() - begun
                rows.append((each.name, command, _noticed(command, result), took))
                say(f"{each.name}: {'caught' if rows[-1][2] else 'SURVIVED'} by {command}")
    return rows


def check_health(breaks: Sequence[Break], say: Say) -> None:
    """Raise BreakError if a command fails without a break, or a break is caught by nobody."""
    if idle := [each.name for each in breaks if not each.caught_by]:
        raise BreakError(f"nobody is to catch: {', '.join(idle)}")
    commands = dict.fromkeys(command for each in breaks for command in each.caught_by)
    with copied() as copy:
        for command in commands:
            say(f"without a break: {command}")
            result = copy.run(shlex.split(command))
            if result.exit_code:
                raise BreakError(f"fails without a break: {command}\n{result.output[-3000:]}")


def _noticed(command: str, result: Result) -> str:
    if result.exit_code not in (0, CAUGHT):
        raise BreakError(f"exit code {result.exit_code}: {command}\n{result.output[-3000:]}")
    if result.exit_code == 0:
        return ""
    failed = _FAILED.search(result.output)
    return failed[failed.lastindex or 0] if failed else command


def main(words: Sequence[str] | None = None) -> int:
    """Try the breaks that ``words`` name, or all, and return the exit code."""
    options = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    options.add_argument("names", nargs="*", metavar="NAME", help="a break's name, or a part of it")
    names = options.parse_args(words).names
    breaks = [each for each in ALL if not names or any(name in each.name for name in names)]
    if not breaks:
        options.error(f"there are: {', '.join(each.name for each in ALL)}")
    console = Console(stderr=True, highlight=False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the command and the copy go with it
    try:
        rows = try_all(breaks, lambda text: console.print(text, soft_wrap=True))
    except BreakError as error:
        console.print(f"mutants: {error}", soft_wrap=True, markup=False)
        return 1
    table = Table("break", "caught by", "seconds")
    for name, command, noticed, took in rows:
        table.add_row(name, noticed or f"SURVIVED {command}", f"{took:.1f}")
    out = Console(highlight=False)
    (out if out.is_terminal else Console(highlight=False, width=160)).print(table)
    return 0 if all(noticed for _, _, noticed, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
