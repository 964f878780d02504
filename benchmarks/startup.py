"""``startup`` measures the time from the start of ``reconciler run`` to its ``ready`` line.

The reference is ``python -c "import aiohttp, sqlalchemy, pydantic"``, start to end: the
cost of the libraries alone.
"""

import time
from dataclasses import dataclass

from benchmarks.children import ChildError, python
from benchmarks.figures import Figure, ratio
from benchmarks.workspace import Place, Workspace, nobody, now

IMPORTS = "import aiohttp, sqlalchemy, pydantic"
TARGET = 2.5
DOWNTIME = 3_600_000
"""Milliseconds; anything over 30 s makes the daemon look at each process that was waiting."""

_ALIVE = "INSERT INTO facts (name, value) VALUES ('last_alive_at', ?)"


@dataclass(frozen=True, slots=True)
class _Size:
    warming: int
    runs: int
    downtimes: int
    processes: int


FULL, QUICK = _Size(1, 9, 2, 100_000), _Size(0, 1, 1, 100)


async def measure(workspace: Workspace, *, quick: bool) -> list[Figure]:
    """Start both in turn; the first pair only warms the caches."""
    size = QUICK if quick else FULL
    empty, after_downtime = [], []
    with nobody() as assure:
        place = await workspace.place()
        place.configure(assure=assure)
        for run in range(size.warming + size.runs):
            workspace.say(f"start {run + 1}, of which {size.warming} to warm up")
            empty.append((await _start(place), await _imports(place)))
        for run in range(size.downtimes):
            workspace.say(f"start after downtime {run + 1} of {size.downtimes}")
            stood_still = await workspace.place(size.processes)
            stood_still.configure(assure=assure)
            stood_still.write(_ALIVE, str(now() - DOWNTIME))
            after_downtime.append((await _start(stood_still), await _start(place)))
    return [
        ratio("start to ready ÷ imports", empty[size.warming :], at_most=TARGET),
        ratio(f"start after downtime, {size.processes:,} waiting ÷ none", after_downtime),
    ]


async def _imports(place: Place) -> float:
    begun = time.perf_counter()
    async with python(place.folder, "-c", IMPORTS) as child:
        if await child.process.wait() != 0:
            raise ChildError("the libraries cannot be imported")
        return time.perf_counter() - begun


async def _start(place: Place) -> float:
    begun = time.perf_counter()
    async with place.daemon() as daemon:
        await daemon.ready()
        taken = time.perf_counter() - begun
        await daemon.stop()
    return taken
