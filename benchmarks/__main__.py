"""``python -m benchmarks [NAME…]``: run all of them, or the ones named."""

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import orjson
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import delivery, intake, ledger, machine, memory, purge, several, startup, sweep
from benchmarks.children import ChildError
from benchmarks.figures import Figure, Say
from benchmarks.workspace import Workspace


class Measure(Protocol):
    """One benchmark."""

    def __call__(self, workspace: Workspace, *, quick: bool) -> Awaitable[list[Figure]]:
        """Measure; ``quick`` only shows that it still works, its figures mean nothing."""
        ...


ALL: dict[str, Measure] = {
    "startup": startup.measure,
    "memory": memory.measure,
    "intake": intake.measure,
    "sweep": sweep.measure,
    "delivery": delivery.measure,
    "ledger": ledger.measure,
    "several": several.measure,
    "purge": purge.measure,
}

LIMIT = 180.0
"""Seconds after which one benchmark is given up."""

WIDTH = 120
"""Columns of the table where no terminal says how many there are."""

FAILED = 1


def main(words: Sequence[str] | None = None) -> int:
    """Run what ``words`` name and return the exit code: a target that is missed is no failure."""
    options = _options(words)
    try:
        # On the daemon's event loop, so that what runs in this process does as it would there.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            told = runner.run(_run(options.names or list(ALL), quick=options.quick))
    except (ChildError, TimeoutError) as error:
        sys.stderr.write(f"benchmarks: {error or 'a benchmark took too long'}\n")
        return FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        return FAILED
    if options.json:
        sys.stdout.buffer.write(orjson.dumps(_as_json(*told), option=orjson.OPT_INDENT_2) + b"\n")
    else:
        _show(*told)
    return 0


Told = tuple[dict[str, str | int | float], dict[str, list[Figure]]]


async def _run(names: Sequence[str], *, quick: bool) -> Told:
    task = asyncio.current_task()
    assert task is not None
    # So that a SIGTERM, too, ends the children and removes the folder.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    figures = {}
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder, _progress() as say:
        about = machine.describe(Path(folder))
        workspace = Workspace(Path(folder), say)
        for name in names:
            workspace.benchmark = name
            async with asyncio.timeout(LIMIT):
                figures[name] = await ALL[name](workspace, quick=quick)
    return about, figures


@contextmanager
def _progress() -> Iterator[Say]:
    """Yield what tells the person who waits: one moving line on a terminal, else lines."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda text: console.print(text, soft_wrap=True)
        return
    with console.status("") as status:
        yield status.update


def _as_json(about: dict[str, Any], figures: dict[str, list[Figure]]) -> dict[str, Any]:
    told = {name: [figure.as_json() for figure in found] for name, found in figures.items()}
    return {"machine": about, "figures": told}


def _show(about: dict[str, Any], figures: dict[str, list[Figure]]) -> None:
    table = Table("", "figure", "median", "least to greatest", "target", "")
    for name, found in figures.items():
        for figure in found:
            value, low, high = (f"{n:.4g}" for n in (figure.value, figure.low, figure.high))
            met = {None: "", True: "met", False: "MISSED"}[figure.is_met]
            unit = f" {figure.unit}" if figure.unit else ""
            spread = f"{low} to {high}" if low != high else ""
            table.add_row(name, figure.name, value + unit, spread, figure.target, met)
            name = ""  # noqa: PLW2901 (only the first row of a group bears the name)
        table.add_section()
    terminal = Console(highlight=False)
    out = terminal if terminal.is_terminal else Console(highlight=False, width=WIDTH)
    out.print(table)
    out.print(", ".join(f"{name} {value}" for name, value in about.items()), soft_wrap=True)


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(ALL)}")
    options.add_argument("--json", action="store_true", help="the figures as JSON on stdout")
    options.add_argument("--quick", action="store_true", help="tiny sizes: only shows that it runs")
    found = options.parse_args(words)
    unknown = [name for name in found.names if name not in ALL]
    if unknown:
        options.error(f"unknown benchmark {unknown[0]!r}; there are {', '.join(ALL)}")
    return found


if __name__ == "__main__":
    sys.exit(main())
