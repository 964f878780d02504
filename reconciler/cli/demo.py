"""``demo``: shows lost callbacks being recovered, on a simulated Assure."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from reconciler.cli.app import ConfigOption, app
from reconciler.cli.errors import FAILED, CommandError
from reconciler.cli.output import aligned, print_json, print_lines


@app.command()
def demo(
    processes: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 300,
    seed: Annotated[int, typer.Option(help="The same seed loses the same callbacks.")] = 7,
    limit: Annotated[float, typer.Option(min=1, help="Give up after so many seconds.")] = 120.0,
    json: Annotated[bool, typer.Option("--json", help="Only the summary, as JSON.")] = False,
    config: ConfigOption = None,
) -> None:
    """Watch lost callbacks being recovered, on a simulated Assure.

    It makes a configuration of its own; --config is taken because every command takes it.
    """
    from reconciler.cli.demo_run import Demo  # noqa: PLC0415 (loads the daemon)

    del config
    with tempfile.TemporaryDirectory(prefix="reconciler-demo-") as directory:
        summary = asyncio.run(Demo(Path(directory), processes, seed, limit, quiet=json).run())
    if json:
        print_json(summary)
    else:
        _print_summary(summary)
    if summary["settledWithTrueStatus"] != processes:
        raise CommandError(FAILED, "not every process was settled with its true status")


def _print_summary(summary: dict[str, Any]) -> None:
    labels = {
        "processes": "processes",
        "callbacksLost": "callbacks that were lost, those asked for again too",
        "settledByCallback": "settled by a callback that came",
        "settledByNotify": "settled by a callback that we asked for again (Notify)",
        "settledByFetch": "settled by reading the status (Get process)",
        "settledWithTrueStatus": "settled with their true status",
        "notifyCalls": "Notify calls",
        "fetchCalls": "Get process calls",
        "seconds": "seconds",
    }
    print_lines(aligned((labels[name], n) for name, n in summary.items()))
