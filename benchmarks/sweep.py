"""``sweep`` has many processes due at once, against the simulated Assure.

It shows whether the configured rate is used up and never exceeded. The simulator in this process
counts the calls that arrive. The burst that a rested budget may add at the start is taken off: 1
is perfect.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
import orjson
import structlog

from benchmarks.children import PATIENCE, ChildError, until
from benchmarks.figures import Figure, figure
from benchmarks.workspace import AUTHORIZATION, PATH, Workspace
from reconciler.simulator import SimProcess, Simulator, World

TARGET = 0.95
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC).isoformat()
"""A ``createdAt`` whose callback has been late for years: due at once."""

JSON = {"Content-Type": "application/json"}

LADDERS = {"fetch": ("fetch",), "notify, fetch": ("notify", "fetch")}
"""With the second, Notify brings the callback, and Get process confirms it: two calls."""


@dataclass(frozen=True, slots=True)
class _Size:
    processes: int
    rounds: dict[int, int]
    """By ``requests_per_second``."""


FULL, QUICK = _Size(500, {50: 1, 200: 3}), _Size(30, {200: 1})


async def measure(workspace: Workspace, *, quick: bool) -> list[Figure]:
    """Register all of them in one request, again and again, for each rate and ladder."""
    size = QUICK if quick else FULL
    figures = []
    for ladder, rungs in LADDERS.items():
        for rate, rounds in size.rounds.items():
            figures += await _Sweep(workspace, ladder, rungs, rate).measure(size.processes, rounds)
    return figures


class _Sweep:
    """One daemon at one rate with one ladder."""

    def __init__(
        self, workspace: Workspace, ladder: str, rungs: tuple[str, ...], rate: int
    ) -> None:
        self._workspace = workspace
        self._rungs = rungs
        self._rate = rate
        self._burst = max(1.0, rate / 10)
        self._title = f"{rate}/s, {ladder}"
        self._world = World(seed=1)

    async def measure(self, processes: int, rounds: int) -> list[Figure]:
        """Return the part of the rate that was used, and the worst second."""
        log = structlog.wrap_logger(structlog.ReturnLogger(), processors=[lambda *_: ""])
        simulator = Simulator(self._world, log=log)
        await simulator.start()
        used = []
        try:
            place = await self._workspace.place()
            place.configure(
                assure=simulator.base_url,
                token_url=simulator.token_url,
                rate=self._rate,
                ladder=self._rungs,
            )
            async with place.daemon() as daemon:
                ready = await daemon.ready()
                simulator.aim(f"{ready['listener']}{PATH}", AUTHORIZATION)
                async with aiohttp.ClientSession(str(ready["admin"])) as admin:
                    for run in range(rounds):
                        self._workspace.say(f"{self._title}: {run + 1} of {rounds}")
                        used.append(await self._round(admin, processes))
                await daemon.stop()
        finally:
            await simulator.stop()
        worst = self._world.log.most_per_second / (self._rate + self._burst)
        return [
            figure(f"{self._title}: calls a second ÷ configured", used, at_least=TARGET),
            figure(f"{self._title}: worst second ÷ rate and burst", [worst], at_most=1.0),
        ]

    async def _round(self, admin: aiohttp.ClientSession, processes: int) -> float:
        """Have ``processes`` settled, and return calls a second by the configured ones."""
        made = [self._world.add(finish_in=0.0, callback="lose") for _ in range(processes)]
        await self._world.until(lambda: all(process.finished for process in made))
        log = self._world.log
        before, fetched = len(log.entries), log.count("fetch")
        async with admin.post("/v1/processes", data=_registrations(made), headers=JSON) as response:
            begun = time.monotonic()  # the last of them is due since a moment ago
            if response.status != 201:
                raise ChildError(f"registration was answered {response.status}")
        async with asyncio.timeout(PATIENCE):
            await self._world.until(lambda: log.count("fetch") >= fetched + processes)

        async def are_settled() -> bool:
            async with admin.get("/v1/status") as response:
                states = (await response.json())["states"]
            return bool(states["settled"] == len(self._world.processes))

        await until(are_settled, every=0.05)
        calls = [call for call in log.entries[before:] if call.kind in ("fetch", "notify")]
        taken = calls[-1].at - min(begun, calls[0].at)
        return (len(calls) - self._burst) / taken / self._rate


def _registrations(made: list[SimProcess]) -> bytes:
    return orjson.dumps(
        [
            {
                "dossierId": process.dossier_id,
                "processId": process.process_id,
                "createdAt": LONG_AGO,
            }
            for process in made
        ]
    )
