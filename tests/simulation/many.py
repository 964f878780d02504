"""Makes many runs, on all processors: ``make simulate SEEDS=10000``, or one: ``SEED=17``."""

import argparse
import gc
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Generator
from contextlib import closing

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.simulation.run import Result, simulate

EACH = 200
"""Runs after which a process is replaced, so that memory stays flat."""

LINES_EVERY = 30.0
"""Seconds between two lines of progress where there is no terminal."""


def main() -> int:
    """Return 0 where no invariant was violated."""
    words = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    words.add_argument("--seeds", type=int, default=1_000, help="how many runs (default: 1000)")
    words.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    words.add_argument("--seed", type=int, help="make this one run, and print its log")
    chosen = words.parse_args()
    if chosen.seed is not None:
        return _one(chosen.seed)
    return _many(range(chosen.first, chosen.first + chosen.seeds))


def _one(seed: int) -> int:
    result = simulate(seed)
    print(result.log)
    print(f"\nseed {seed}: {result.days:.0f} days, {result.daemons} daemons, log {result.digest}")
    _tell(result)
    return 1 if result.violations else 0


def _many(seeds: range) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # its processes go with it
    begun = time.monotonic()
    failed, done, days = 0, 0, 0.0
    is_terminal = sys.stderr.isatty()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        Progress(*columns, TimeRemainingColumn(), disable=not is_terminal) as bar,
        closing(_results(seeds)) as results,
    ):
        task = bar.add_task("runs", total=len(seeds))
        told_at = begun
        for result in results:
            done += 1
            days += result.days
            if result.violations:
                failed += 1
                _tell(result)
            now = time.monotonic()
            rate = done / (now - begun)
            bar.update(task, completed=done, description=f"{rate:.1f} runs/s, {failed} failed")
            if not is_terminal and now - told_at > LINES_EVERY:
                told_at = now
                print(
                    f"{done} of {len(seeds)} runs, {rate:.1f} runs/s, {failed} failed", flush=True
                )
    seconds = time.monotonic() - begun
    print(
        f"{done} runs of {days / max(done, 1):.0f} virtual days in {seconds:.0f} s, "
        f"{done / seconds:.1f} runs/s: {failed} failed"
    )
    return 1 if failed else 0


def _results(seeds: range) -> Generator[Result, None, None]:
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(os.cpu_count(), initializer=_begin, maxtasksperchild=EACH) as pool:
        yield from pool.imap_unordered(_without_log, seeds)


def _begin() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()  # or each collection looks at every module


def _without_log(seed: int) -> Result:
    result = simulate(seed)
    return result if result.violations else Result(seed, (), "", result.days, result.daemons)


def _tell(result: Result) -> None:
    for violation in result.violations:
        print(f"seed {result.seed}: {violation}", flush=True)
    if result.violations:
        print(f"repeat it with: make simulate SEED={result.seed}", flush=True)
