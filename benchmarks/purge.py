"""``purge`` measures how much the removal of old rows slows callbacks down.

Two daemons in turn on stores of their own, the same load on each. In one of them everything on
the ledger ended long ago, so that housekeeping is at work from the start.
"""

import time
from dataclasses import dataclass

from sqlalchemy import insert

from benchmarks.children import Child, ChildError, python
from benchmarks.figures import Figure, figure, ratio
from benchmarks.workspace import AUTHORIZATION, PATH, Place, Workspace, nobody, now
from reconciler.ledger import SettledBy, State, TrackedProcess
from reconciler.ledger.policy import DAY
from reconciler.store.delivery_row import delivery_row
from reconciler.store.open import open_store
from reconciler.store.rows import to_row
from reconciler.store.schema import callbacks, deliveries, processes, timeline
from reconciler.store.timeline import entry_row

LIMIT = 50.0
"""Milliseconds that a transaction beside the inbox may take."""

CONNECTIONS = 4
ENTRIES = 5
"""In the timeline of each process: with it, its callback and its delivery eight rows."""

BATCH = 1_000
AGO = 100 * DAY
"""Longer than is kept by default."""


@dataclass(frozen=True, slots=True)
class _Size:
    rounds: int
    seconds: float
    processes: int


FULL, QUICK = _Size(3, 3.0, 12_500), _Size(1, 0.3, 50)


async def measure(workspace: Workspace, *, quick: bool) -> list[Figure]:
    """Load a daemon with nothing to remove, then one with much, in turn."""
    size = QUICK if quick else FULL
    pairs, holds = [], []
    with nobody() as assure:
        for run in range(size.rounds):
            workspace.say(f"round {run + 1} of {size.rounds}")
            idle, busy = await workspace.place(), await workspace.place()
            await _fill(busy, size.processes, run)
            for place in (idle, busy):
                place.configure(assure=assure)
            reference, _ = await _loaded(idle, size.seconds, 0)
            ours, hold = await _loaded(busy, size.seconds, size.processes)
            pairs.append((ours, reference))
            holds.append(hold)
    rows = size.processes * (ENTRIES + 3)
    return [
        figure(f"longest hold of the writer, {rows:,} rows", holds, unit="ms", at_most=LIMIT),
        ratio("p99 of a durable 200 meanwhile ÷ with nothing to remove", pairs),
    ]


async def _loaded(place: Place, seconds: float, old: int) -> tuple[float, float]:
    """Return the p99 of the answers in seconds, and the longest hold in ms."""
    async with place.daemon() as daemon:
        url = str((await daemon.ready())["listener"]) + PATH
        async with python(
            place.folder,
            *("-m", "benchmarks.load", url, "--authorization", AUTHORIZATION, "--prefix", "load-"),
            *("--connections", str(CONNECTIONS), "--seconds", str(seconds)),
        ) as sender:
            result = await sender.result()
        hold = await _purged(daemon, old) if old else 0.0
        await daemon.stop()
    if result["refused"]:
        raise ChildError(f"not every callback was answered 200: {result}")
    return float(str(result["p99_seconds"])), hold


async def _purged(daemon: Child, old: int) -> float:
    line = await daemon.line_with(b'"event":"purged"')
    if line["processes"] != old:
        raise ChildError(f"{old} processes are past their time, but {line}")
    return float(str(line["longest_ms"]))


async def _fill(place: Place, count: int, run: int) -> None:
    """Put processes on the ledger that ended long ago, with all that belongs to them."""
    at = now() - AGO
    store = await open_store(f"sqlite:///{place.store}", is_daemon=True)
    try:
        for start in range(0, count, BATCH):
            old = [_ended(run, serial, at) for serial in range(start, min(start + BATCH, count))]
            async with store.database.write() as connection:
                await connection.execute(insert(processes), [to_row(each) for each in old])
                entries = [
                    entry_row(each.process_id, at, "callback_applied", {"status": "accepted"})
                    for each in old
                    for _ in range(ENTRIES)
                ]
                await connection.execute(insert(timeline), entries)
                await connection.execute(insert(callbacks), [_callback(each) for each in old])
                await connection.execute(insert(deliveries), [_delivered(each) for each in old])
    finally:
        await store.database.close()


def _ended(run: int, serial: int, at: int) -> TrackedProcess:
    scattered = (serial * 2_654_435_761 + run) % 2**32  # ids come in no order, as UUIDs do
    return TrackedProcess(
        process_id=f"{scattered:08x}-7d3e-4c9a-8b6f-{serial:012d}",
        dossier_id=f"{scattered:08x}-5a4f-4e3d-a2c1-{serial:012d}",
        provider="onfido",
        registered_at=at,
        timeout_from=at,
        state=State.SETTLED,
        state_since=at + serial,
        status="accepted",
        settled_by=SettledBy.CALLBACK,
        settled_at=at + serial,
    )


def _callback(process: TrackedProcess) -> dict[str, object]:
    return {
        "receipt_id": f"{time.perf_counter_ns():032x}",
        "received_at": process.state_since,
        "process_id": process.process_id,
        "dossier_id": process.dossier_id,
        "status": "accepted",
        "extra": None,
        "body_sha256": bytes(32),
        "outcome": "applied",
    }


def _delivered(process: TrackedProcess) -> dict[str, object]:
    row = delivery_row(process, "process.settled", process.state_since)
    return {
        **row,
        "state": "delivered",
        "next_attempt_at": None,
        "delivered_at": process.state_since,
    }
