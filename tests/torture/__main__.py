"""``python -m tests.torture``: daemons die on both databases, with and without power cuts."""

import argparse
import asyncio
import os
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from itertools import count, cycle
from pathlib import Path

from tests.postgres import FAST, TEST_SERVER, Databases, running_server
from tests.torture.disk import built
from tests.torture.lives import NAMES, Equipment, TortureError, lead_a_life

IN_A_LIFE = 5
"""Rounds on one ledger."""


class Progress:
    """Prints a line for each round."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._begun = time.monotonic()
        self.done = 0

    @property
    def left(self) -> int:
        """How many rounds are left."""
        return self._rounds - self.done

    def say(self, text: str) -> None:
        """Print what happened in a round that has gone well."""
        self.done += 1
        seconds = time.monotonic() - self._begun
        print(f"{seconds:5.0f} s  {self.done:3} of {self._rounds}  {text}", flush=True)


def main() -> int:
    """Run as many rounds as asked for; return 1 at the first that fails."""
    options = _options()
    progress = Progress(options.rounds)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torture-")))
        equipment = Equipment(_databases(stack, options.on), built(scratch))
        names = cycle(options.on)
        for seed in count(options.seed):
            if not progress.left:
                break
            directory = scratch / str(seed)
            directory.mkdir()
            rounds = min(IN_A_LIFE, progress.left)
            life = lead_a_life(next(names), seed, rounds, directory, equipment, progress.say)
            try:
                asyncio.run(life)
            except TortureError:
                traceback.print_exc()
                return 1
    print(f"{progress.done} rounds: nothing acknowledged was lost")
    return 0


def _databases(stack: ExitStack, names: list[str]) -> Databases | None:
    if not any(name.startswith("postgres") for name in names):
        return None
    url = os.environ.get(TEST_SERVER)
    return Databases(url) if url else stack.enter_context(running_server(*FAST))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="daemons to kill (default: 200)")
    parser.add_argument("--seed", type=int, default=1, help="of the first life (default: 1)")
    parser.add_argument("on", nargs="*", choices=[*NAMES, []], help="default: all, in turn")
    options = parser.parse_args()
    options.on = options.on or list(NAMES)
    return options


if __name__ == "__main__":
    sys.exit(main())
