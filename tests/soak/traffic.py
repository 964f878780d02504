"""The traffic of a soak test: registrations, and callbacks at a steady rate that wait for nobody.

Processes with an even number are registered; the others are known by their callback alone, so that
an acknowledged callback that is lost is never made good by the reconciler's own asking.
"""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any

import aiohttp
import orjson

from reconciler.simulator.process import FINAL_STATUSES
from tests.soak.daemon import Daemon
from tests.soak.far_side import FarSide

AUTHORIZATION = "Bearer soak"
ADMIN_TOKEN = "soak-admin-token"

AT_ONCE = 500
"""Callbacks in flight; Assure would have more, but a daemon that is that late has failed."""

LATE = 5.0
"""Seconds by which some callbacks are late."""

RETRY = 0.5
"""Seconds until a registration that failed is tried again."""

KEPT = 60.0
"""Seconds for which Assure knows a process that was delivered: a late callback may ask for it."""

LIMIT = aiohttp.ClientTimeout(total=10)
"""As long as Assure waits."""

PREFIX = "5f0c1a2b-7d3e-4c9a-8b6f-"


def id_of(number: int) -> str:
    """Return the process id with this number."""
    return f"{PREFIX}{number:012d}"


def number_of(process_id: str) -> int:
    """Return the number of a process."""
    return int(process_id.removeprefix(PREFIX))


def truth_of(number: int) -> str:
    """Return the status with which a process has ended."""
    return FINAL_STATUSES[number % len(FINAL_STATUSES)]


def is_registered(number: int) -> bool:
    """Tell whether the application registers this process."""
    return number % 2 == 0


class Traffic:
    """Sends, and remembers what was acknowledged and is not yet delivered."""

    def __init__(self, daemon: Daemon, far_side: FarSide) -> None:
        self._daemon = daemon
        self._far_side = far_side
        self._tasks: set[asyncio.Task[None]] = set()
        self.acknowledged = 0
        self.refused = 0
        """Callbacks without a 200: the daemon was away."""
        self.held_back = 0
        """Callbacks that were not sent because too many were in flight."""
        self.latencies: list[float] = []
        """Seconds of each 200 since somebody took the list."""
        self._owed, self._delivered = bytearray(), bytearray()
        """By number, whether the daemon has acknowledged it, and whether it has delivered it."""
        self._done: deque[tuple[float, str]] = deque()
        self.wrong: list[str] = []
        """Deliveries that told something else than the truth."""

    async def flow(self, rate: float, seconds: float) -> None:
        """Send ``rate`` callbacks a second for ``seconds``, and all that they bring with them."""
        connector = aiohttp.TCPConnector(limit=AT_ONCE)
        async with aiohttp.ClientSession(connector=connector, timeout=LIMIT) as self._session:
            try:
                await self._send(rate, seconds)
                while self._tasks:
                    await asyncio.wait(self._tasks)
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def settle(self) -> None:
        """Compare what was delivered with the truth, and forget it a minute later."""
        now = time.monotonic()
        told, self._far_side.application.told = self._far_side.application.told, []
        for process_id, status in told:
            number = number_of(process_id)
            if status != truth_of(number):
                self.wrong.append(f"{process_id}: {status}, not {truth_of(number)}")
            self._delivered[number] = True
            self._done.append((now, process_id))
        while self._done and self._done[0][0] < now - KEPT:
            self._far_side.forget(self._done.popleft()[1])

    def missing(self) -> list[str]:
        """Return the processes that were acknowledged and have not been delivered."""
        pairs = enumerate(zip(self._owed, self._delivered, strict=True))
        return [id_of(number) for number, (owed, delivered) in pairs if owed and not delivered]

    async def _send(self, rate: float, seconds: float) -> None:
        begun = time.monotonic()
        for second in range(round(seconds)):
            first, past = round(second * rate), round((second + 1) * rate)
            self._begin(range(first, past))
            for number in range(first, past):
                await asyncio.sleep(max(begun + number / rate - time.monotonic(), 0.0))
                if len(self._tasks) >= AT_ONCE:
                    self.held_back += 1
                else:
                    self._spawn(self._call_back(number))
            self.settle()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _begin(self, numbers: range) -> None:
        """Let these processes end, and register them."""
        world = self._far_side.world
        for number in numbers:
            name = id_of(number)
            world.add(process_id=name, dossier_id=f"dossier-{number}", callback="lose")
            world.finish(name, truth_of(number))
        self._owed.extend(bytes(len(numbers)))
        self._delivered.extend(bytes(len(numbers)))
        self._spawn(self._register([number for number in numbers if is_registered(number)]))

    async def _register(self, numbers: list[int]) -> None:
        body = [{"dossierId": f"dossier-{n}", "processId": id_of(n)} for n in numbers]
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        while numbers:
            url = f"{self._daemon.admin}/v1/processes"
            try:
                async with self._session.post(url, json=body, headers=headers) as answer:
                    if answer.status in (200, 201):
                        for number in numbers:
                            self._owed[number] = True
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass  # the daemon is away; an application tries again
            await asyncio.sleep(RETRY)

    async def _call_back(self, number: int) -> None:
        """Post the callbacks of one process; some are lost, doubled, wrong or late."""
        kind, truth = number % 100, truth_of(number)
        if kind in (0, 2):
            return  # lost: Notify brings it
        if kind == 4:
            await asyncio.sleep(LATE)
        if kind == 1:
            await self._post(number, truth)
        if kind == 3:
            await self._post(number, truth_of(number + 1))
        await self._post(number, truth)

    async def _post(self, number: int, status: str) -> None:
        told = {"dossierId": f"dossier-{number}", "processId": id_of(number), "status": status}
        headers = {"Authorization": AUTHORIZATION, "Content-Type": "application/json"}
        url = f"{self._daemon.listener}/callbacks/assure"
        begun = time.perf_counter()
        try:
            async with self._session.post(url, data=orjson.dumps(told), headers=headers) as answer:
                took, is_well = time.perf_counter() - begun, answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            is_well = False
        if not is_well:
            self.refused += 1
            return
        self.latencies.append(took)
        self.acknowledged += 1
        self._owed[number] = True
