"""``python -m tests.soak 5m``: a daemon under steady traffic with faults and restarts.

Exit code 1 where an acknowledged callback or registration is lost, a result is wrong, memory,
latency or backlog grow, or ``check-db`` has findings.
"""

import argparse
import asyncio
import csv
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import uvloop

from reconciler.config.values import parse_duration
from tests.soak.run import CYCLES, Told, soak

SHORTEST = 60_000
"""Milliseconds; a shorter run has nothing to judge."""


def main(words: Sequence[str] | None = None) -> int:
    """Run, print what was seen, and return the exit code."""
    options = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    options.add_argument("duration", nargs="?", default="1h", help="such as 5m; at least 1m")
    options.add_argument("--rate", type=float, default=200.0, help="callbacks a second")
    options.add_argument("--out", type=Path, default=Path("build/soak"), help="for PNG and CSV")
    chosen = options.parse_args(words)
    seconds = parse_duration(chosen.duration) / 1000
    if seconds * 1000 < SHORTEST or chosen.rate < 1:
        options.error("at least 1m and one callback a second")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            told = runner.run(_run(seconds, chosen.rate))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 1
    chosen.out.mkdir(parents=True, exist_ok=True)
    _write_csv(chosen.out / "soak.csv", told)
    _draw(chosen.out / "soak.png", told, seconds, f"{chosen.rate:g} callbacks/s")
    for name, value in told.figures.items():
        print(f"{name}: {value}")
    print("\n".join(f"PROBLEM {each}" for each in told.problems) or "no growth, nothing lost")
    return 1 if told.problems else 0


async def _run(seconds: float, rate: float) -> Told:
    task = asyncio.current_task()
    assert task is not None
    # So that a SIGTERM, too, ends the daemon and removes the folder.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="reconciler-soak-") as folder:

        def say(text: str) -> None:
            print(text, file=sys.stderr, flush=True)

        return await soak(Path(folder), rate=rate, seconds=seconds, say=say)


def _write_csv(path: Path, told: Told) -> None:
    with path.open("w", newline="") as file:
        rows = [asdict(sample) for sample in told.samples]
        writer = csv.DictWriter(file, rows[0] if rows else ())
        writer.writeheader()
        writer.writerows(rows)


def _draw(path: Path, told: Told, seconds: float, traffic: str) -> None:
    try:
        from tests.soak.plot import draw  # noqa: PLC0415 (a library that only this needs)
    except ImportError:
        print("no picture: matplotlib is not installed (`make soak` installs it)")
        return
    draw(
        path,
        told.samples,
        told.restarts,
        title=f"{traffic}, {seconds / 60:g} min",
        seconds=seconds,
        cycle=seconds / CYCLES,
    )
    print(f"picture: {path}")


if __name__ == "__main__":
    sys.exit(main())
