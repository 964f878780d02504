"""``intake`` measures how fast callbacks get a durable 200, against a bare aiohttp server.

Three processes: server, sender, and this one, which sleeps meanwhile. Each callback is about
another process that nobody has registered, the most expensive kind: it becomes a row of the inbox
and then, adopted, one of the ledger.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.children import Child, ChildError, python, until
from benchmarks.figures import Figure, ratio
from benchmarks.workspace import AUTHORIZATION, PATH, Place, Workspace, nobody

TARGET = 0.3
"""Below it, callbacks no longer share commits."""

MANY = 64
"""Connections."""

UNAPPLIED = "SELECT count(*) FROM callbacks WHERE outcome IS NULL"


@dataclass(frozen=True, slots=True)
class _Size:
    rounds: int
    seconds: float


FULL, QUICK = _Size(5, 2.0), _Size(1, 0.2)


async def measure(workspace: Workspace, *, quick: bool) -> list[Figure]:
    """Load both in turn, with many connections and with one."""
    size = QUICK if quick else FULL
    place = await workspace.place()
    rates, applied, latencies = [], [], []
    with nobody() as assure:
        place.configure(assure=assure)
        async with (
            python(place.folder, "-m", "benchmarks.bare", PATH) as bare,
            place.daemon() as daemon,
        ):
            loads = _Loads(place, await url_of(daemon), await url_of(bare), size.seconds)
            for run in range(size.rounds):
                workspace.say(f"round {run + 1} of {size.rounds}")
                ours, reference, lag = await loads.both(MANY)
                rates.append((ours["per_second"], reference["per_second"]))
                applied.append((size.seconds + lag, size.seconds))
                ours, reference, _ = await loads.both(1)
                latencies.append((ours["median_seconds"], reference["median_seconds"]))
            await daemon.stop()
    loads.check()
    return [
        ratio(f"durable 200s a second ÷ bare, {MANY} connections", rates, at_least=TARGET),
        ratio("time until all are on the ledger ÷ time of the load", applied),
        ratio("time of one durable 200 ÷ bare, 1 connection", latencies),
    ]


class _Loads:
    """Sends to the daemon and to the bare server, and counts what the daemon acknowledged."""

    def __init__(self, place: Place, ours: str, bare: str, seconds: float) -> None:
        self._place = place
        self._ours = ours
        self._bare = bare
        self._seconds = seconds
        self._serial = 0
        self._acknowledged = 0

    async def both(self, connections: int) -> tuple[dict[str, Any], dict[str, Any], float]:
        """Load one after the other; also return the seconds until the inbox was applied."""
        reference = await self._load(self._bare, connections)
        ours = await self._load(self._ours, connections)
        self._acknowledged += ours["acknowledged"]
        begun = time.perf_counter()
        await until(self._is_applied, every=0.05)
        return ours, reference, time.perf_counter() - begun

    async def _is_applied(self) -> bool:
        return self._place.count(UNAPPLIED) == 0

    def check(self) -> None:
        """Check that everything acknowledged is stored. Raises ChildError."""
        stored = self._place.count("SELECT count(*) FROM callbacks")
        if stored < self._acknowledged:
            raise ChildError(f"{self._acknowledged} were acknowledged, {stored} are stored")

    async def _load(self, url: str, connections: int) -> dict[str, Any]:
        self._serial += 1
        prefix = f"load-{self._serial}-"
        return await send(self._place.folder, url, prefix, connections, self._seconds)


async def send(
    folder: Path, url: str, prefix: str, connections: int, seconds: float
) -> dict[str, Any]:
    """Send callbacks for so long; return what the sender counted. Raises ChildError."""
    async with python(
        folder,
        *("-m", "benchmarks.load", url, "--authorization", AUTHORIZATION),
        *("--prefix", prefix, "--connections", str(connections), "--seconds", str(seconds)),
    ) as sender:
        result: dict[str, Any] = await sender.result()
    if result["refused"] or not result["acknowledged"]:
        raise ChildError(f"not every callback was answered 200: {result}")
    return result


async def url_of(server: Child) -> str:
    """Return where ``server`` takes callbacks."""
    return str((await server.line_with(b'"listener"'))["listener"]) + PATH
