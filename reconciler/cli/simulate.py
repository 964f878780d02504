"""``simulate``: runs the simulated Assure API in the foreground, until a signal ends it."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import structlog
import typer

from reconciler.cli.app import ConfigOption
from reconciler.ledger import iso

if TYPE_CHECKING:
    from reconciler.simulator import SimProcess, Simulator, World

COUNT_EVERY = 5.0
"""Seconds between two lines with counters on a terminal."""


def _share(text: str) -> Any:
    return typer.Option(min=0.0, max=1.0, metavar="0..1", help=text)


def _seconds(text: str) -> Any:
    return typer.Option(min=0.0, max=86400.0, metavar="SECONDS", help=text)


def simulate(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 8099,
    host: Annotated[str, typer.Option(help="A loopback address.")] = "127.0.0.1",
    callback_url: Annotated[
        str, typer.Option(help="Where callbacks go. Empty: none are sent.")
    ] = "http://127.0.0.1:8080/callbacks/assure",
    authorization: Annotated[
        str,
        typer.Option(
            help="Authorization header of the callbacks. A development value only: every user of "
            "this machine can read a command line."
        ),
    ] = "",
    processes: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Make so many processes at start.")
    ] = 0,
    finish_within: Annotated[
        float, _seconds("Those processes finish, evenly spread, within this time.")
    ] = 30.0,
    ledger: Annotated[
        str,
        typer.Option(
            metavar="FILE", help="Write those processes there for `import`; - for stdout."
        ),
    ] = "",
    seed: Annotated[int, typer.Option(help="The same seed plays the same.")] = 0,
    lose: Annotated[float, _share("Share of callbacks that are never sent.")] = 0.0,
    duplicate: Annotated[float, _share("Share of callbacks that are sent twice.")] = 0.0,
    wrong_claim: Annotated[float, _share("Share of callbacks with a wrong status.")] = 0.0,
    server_error: Annotated[float, _share("Share of API calls answered 503.")] = 0.0,
    throttle: Annotated[float, _share("Share of API calls answered 429.")] = 0.0,
    latency: Annotated[float, _seconds("How long every answer takes.")] = 0.0,
    lag: Annotated[float, _seconds("How long Get process stays pending after the callback.")] = 0.0,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every call.")] = False,
    config: ConfigOption = None,
) -> None:
    """Play the Assure API on loopback, with faults on demand: for development, demo and tests.

    It needs no configuration; --config is taken because every command takes it.
    """
    from reconciler.simulator import Faults, Simulator, World  # noqa: PLC0415 (loads aiohttp)

    del config
    log = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if verbose else logging.WARNING
        ),
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
    )
    faults = Faults(
        lose_callbacks=lose,
        duplicate_callbacks=duplicate,
        wrong_claim=wrong_claim,
        server_error=server_error,
        throttle=throttle,
        latency=latency,
        lag=lag,
    )
    world = World(seed, faults=faults)
    try:
        simulator = Simulator(
            world,
            log=log,
            host=host,
            port=port,
            callback_url=callback_url,
            authorization=authorization,
        )
    except ValueError as reason:
        raise typer.BadParameter(str(reason)) from None
    try:
        asyncio.run(_serve(world, simulator, processes, finish_within, ledger))
    except OSError as reason:
        typer.echo(f"simulate: {reason.strerror or reason}", err=True)
        raise typer.Exit(1) from None


async def _serve(
    world: "World", simulator: "Simulator", processes: int, finish_within: float, ledger: str
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await simulator.start()
    try:
        made = [world.add(finish_in=finish_within * (n + 1) / processes) for n in range(processes)]
        if ledger:
            _write_ledger(ledger, made)
        typer.echo(_instructions(simulator, made), err=True)
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), COUNT_EVERY)
            if sys.stderr.isatty():
                typer.echo(_counters(world), err=True)
    finally:
        await simulator.stop()
    typer.echo(f"Stopped. {_counters(world)}", err=True)


def _write_ledger(ledger: str, made: "Iterable[SimProcess]") -> None:
    """Write one JSON object a line, as ``import`` reads it."""
    lines = b"".join(
        orjson.dumps(
            {
                "dossierId": process.dossier_id,
                "processId": process.process_id,
                "provider": process.provider,
                "createdAt": iso(process.created_at),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for process in made
    )
    if ledger != "-":
        Path(ledger).write_bytes(lines)
        return
    sys.stdout.buffer.write(lines)
    sys.stdout.flush()
    # The reader of a pipe waits for its end, and this process can run for hours.
    if not sys.stdout.isatty():
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _counters(world: "World") -> str:
    finished = sent = lost = 0
    for process in world.processes.values():
        finished += process.finished
        sent += process.callbacks_sent
        lost += process.callbacks_lost
    return (
        f"{len(world.processes)} processes, {finished} finished; "
        f"callbacks {sent} sent, {lost} lost; "
        f"calls {world.log.count('fetch')} fetch, {world.log.count('notify')} notify"
    )


def _instructions(simulator: "Simulator", made: "list[SimProcess]") -> str:
    control = f"{simulator.base_url}/_simulator"
    return f"""\
Simulated Assure API on {simulator.base_url}, with {len(made)} processes. Ctrl-C stops it.

For the daemon's configuration:
  [assure]
  base_url = "{simulator.base_url}"
  token_url = "{simulator.token_url}"
  client_id = "{simulator.client_id}"
  client_secret = "{simulator.client_secret}"

To play:
  curl {control}/processes -d '{{"finishIn": 5, "callback": "lose"}}'
  curl -X POST {control}/processes/PROCESS_ID/finish -d '{{"status": "rejected"}}'
  curl {control}/processes
  curl -X PUT {control}/faults -d '{{"server_error": 0.5}}'
  curl {control}/calls
"""
