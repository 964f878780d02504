"""``memory`` measures the resident memory of a daemon with many tracked processes.

First all of them wait. Then all are overdue at once and Assure cannot be reached: it is measured
when all rows have turned overdue and the breaker has opened. The sweep runs more often than by
default, only so that this is over sooner.
"""

import asyncio
from dataclasses import dataclass

import aiohttp

from benchmarks.children import Child, ChildError, until
from benchmarks.figures import Figure, figure
from benchmarks.workspace import Place, Workspace, nobody

TARGET = 150.0
"""MB, of 10^6 bytes."""

LOOK = 0.5
"""Seconds between two looks at the status, as an operator's `status --watch` makes them."""


@dataclass(frozen=True, slots=True)
class _Size:
    processes: int
    settle: float
    """Seconds after which a daemon with nothing to do has done what a start makes it do."""


FULL, QUICK = _Size(100_000, 6.0), _Size(300, 0.1)


async def measure(workspace: Workspace, *, quick: bool) -> list[Figure]:
    """Look at one daemon on a store of waiting processes, and at one on the same, overdue."""
    size = QUICK if quick else FULL
    place = await workspace.place(size.processes)
    many = f"{size.processes:,}"
    with nobody() as assure:
        place.configure(assure=assure, sweep="100ms")
        workspace.say(f"{many} processes wait")
        waiting = await _waiting(place, size)
        workspace.say(f"{many} processes are overdue at once")
        place.write("UPDATE processes SET next_check_at = registered_at")
        overdue = await _overdue(place, size, workspace)
    return [
        figure(f"resident, {many} waiting", waiting[:1], unit="MB", at_most=TARGET),
        figure(f"resident, {many} overdue", overdue[:1], unit="MB", at_most=TARGET),
        figure(
            "the most of either at any moment",
            [max(waiting[1], overdue[1])],
            unit="MB",
            at_most=TARGET,
        ),
    ]


async def _waiting(place: Place, size: _Size) -> tuple[float, float]:
    async with place.daemon() as daemon:
        ready = await daemon.ready()
        async with aiohttp.ClientSession(str(ready["admin"])) as admin:
            await asyncio.sleep(size.settle)
            states = await _states(admin)
        if states["waiting"] != size.processes:
            raise ChildError(f"not all processes wait: {states}")
        return await _resident(daemon)


async def _overdue(place: Place, size: _Size, workspace: Workspace) -> tuple[float, float]:
    async with place.daemon() as daemon:
        ready = await daemon.ready()
        await daemon.line_with(b'"event":"breaker_opened"')
        async with aiohttp.ClientSession(str(ready["admin"])) as admin:

            async def are_turned() -> bool:
                turned = (await _states(admin))["overdue"]
                workspace.say(f"turned overdue: {turned:,} of {size.processes:,}")
                return turned == size.processes

            await until(are_turned, every=LOOK)
        return await _resident(daemon)


async def _states(admin: aiohttp.ClientSession) -> dict[str, int]:
    async with admin.get("/v1/status") as response:
        states: dict[str, int] = (await response.json())["states"]
    return states


async def _resident(daemon: Child) -> tuple[float, float]:
    sizes = daemon.resident()
    await daemon.stop()
    return sizes
