"""Processes that end, their callbacks and registrations, and which of them were acknowledged."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from itertools import count
from random import Random

import aiohttp
import orjson

from reconciler.simulator import SimProcess, World
from reconciler.simulator.process import FINAL_STATUSES
from tests.e2e.conftest import ADMIN_TOKEN, AUTHORIZATION, Daemon

SENDERS = 8
PAUSE = 0.03
"""Seconds between two stories of a sender: what is told is to be asked and delivered too."""

Step = Callable[["Traffic", Daemon], Coroutine[None, None, bool]]
"""A part of a process's story; it tells whether it was acknowledged."""


class Traffic:
    """Senders that tell a daemon of processes, each again until it is acknowledged.

    Assure itself never posts twice: here each attempt is another callback, with another body, so
    that it can be told which of them were acknowledged.
    """

    def __init__(self, world: World, chance: Random) -> None:
        self.acknowledged: dict[bytes, str] = {}
        """The process of each acknowledged callback, by the SHA-256 of its body."""
        self.registered: set[str] = set()
        """The processes whose registration was acknowledged."""
        self._world = world
        self._chance = chance
        self._numbers = count()
        self.refused: list[int] = []
        """The status of each answer to a callback that was not 200."""
        self._unfinished: deque[list[Step]] = deque()
        self._being_told = 0
        self._news = asyncio.Event()

    @property
    def processes(self) -> set[str]:
        """The processes that the ledger must know."""
        return self.registered | set(self.acknowledged.values())

    @property
    def untold(self) -> int:
        """How many processes the daemon has not been told of in full."""
        return len(self._unfinished) + self._being_told

    @asynccontextmanager
    async def flowing(
        self, daemon: Daemon, *, only_unfinished: bool = False
    ) -> AsyncIterator[None]:
        """Send to ``daemon`` during the block; nothing new where ``only_unfinished``."""
        connector = aiohttp.TCPConnector(limit=SENDERS)
        limit = aiohttp.ClientTimeout(total=10)  # as long as Assure waits
        async with aiohttp.ClientSession(connector=connector, timeout=limit) as self._session:
            senders = [
                asyncio.create_task(self._send(daemon, only_unfinished=only_unfinished))
                for _ in range(SENDERS)
            ]
            try:
                yield
            finally:
                for sender in senders:
                    sender.cancel()
                await asyncio.gather(*senders, return_exceptions=True)

    async def more(self, wanted: int) -> None:
        """Wait until so many more callbacks were acknowledged."""
        until = len(self.acknowledged) + wanted
        while len(self.acknowledged) < until:
            self._news.clear()
            await self._news.wait()

    async def _send(self, daemon: Daemon, *, only_unfinished: bool) -> None:
        while self._unfinished or not only_unfinished:
            story = self._unfinished.popleft() if self._unfinished else self._new_story()
            self._being_told += 1
            try:
                while story and await story[0](self, daemon):
                    del story[0]
            finally:  # also when the daemon has died meanwhile
                self._being_told -= 1
                if story:
                    self._unfinished.append(story)
                self._news.set()
            await asyncio.sleep(PAUSE)

    def _new_story(self) -> list[Step]:
        """Draw how a process goes, and how the daemon is told of it."""
        process = self._world.add(callback="lose")
        truth, other = self._chance.sample(FINAL_STATUSES, 2)
        tell = partial(_call_back, process=process)
        stories: list[list[Step]] = [
            [partial(tell, truth=truth, claim=truth)],
            [partial(tell, truth=truth, claim=truth)] * 2,
            [partial(tell, truth=truth, claim=other)],
            [partial(tell, truth=other, claim=other), partial(tell, truth=truth, claim=truth)],
            [partial(_register, process=process, truth=truth)],
        ]
        return self._chance.choices(stories, weights=(5, 1, 1, 2, 1))[0]

    async def call_back(self, daemon: Daemon, process: SimProcess, claim: str) -> bool:
        """Post a callback; True where it is acknowledged."""
        body = {
            "dossierId": process.dossier_id,
            "processId": process.process_id,
            "status": claim,
            "number": next(self._numbers),
        }
        raw = orjson.dumps(body)
        status = await self._post(daemon.callback_url, raw, AUTHORIZATION)
        if status == 200:
            self.acknowledged[sha256(raw).digest()] = process.process_id
        elif status:
            self.refused.append(status)
        return status == 200

    async def register(self, daemon: Daemon, process: SimProcess) -> bool:
        """Register a process; True where that is acknowledged."""
        body = {"dossierId": process.dossier_id, "processId": process.process_id}
        url = f"{daemon.admin_url}/v1/processes"
        status = await self._post(url, orjson.dumps(body), f"Bearer {ADMIN_TOKEN}")
        if status in (200, 201):
            self.registered.add(process.process_id)
        return status in (200, 201)

    async def _post(self, url: str, raw: bytes, authorization: str) -> int:
        """Return the status of the answer, 0 where none came."""
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        try:
            async with self._session.post(url, data=raw, headers=headers) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    def finish(self, process: SimProcess, truth: str) -> None:
        """Let ``process`` have ended as ``truth``."""
        if process.status != truth:
            self._world.finish(process.process_id, truth)


async def _call_back(
    traffic: Traffic, daemon: Daemon, *, process: SimProcess, truth: str, claim: str
) -> bool:
    """Post a callback that claims ``claim`` of a process that truly ended as ``truth``."""
    traffic.finish(process, truth)
    return await traffic.call_back(daemon, process, claim)


async def _register(traffic: Traffic, daemon: Daemon, *, process: SimProcess, truth: str) -> bool:
    """Register a process whose own callback is lost."""
    traffic.finish(process, truth)
    return await traffic.register(daemon, process)
