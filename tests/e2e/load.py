"""Callbacks sent to a daemon, and what was answered 200."""

import asyncio
import itertools
from collections.abc import Iterator

import aiohttp

HEADERS = {"Authorization": "Bearer canary-authorization-7f3a"}


class Load:
    """Senders that each post one callback after the other, and remember what was answered 200."""

    def __init__(self, url: str, *, senders: int = 24, pause: float = 0.0) -> None:
        """``pause``: seconds between two callbacks of a sender."""
        self.url = url
        self.acknowledged: set[str] = set()
        self.failed: list[str] = []
        self._senders = senders
        self._pause = pause
        self._ids: Iterator[int] = itertools.count()
        self._enough = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Load":
        connector = aiohttp.TCPConnector(limit=self._senders)
        self._session = aiohttp.ClientSession(connector=connector)
        self._tasks = [asyncio.create_task(self._send()) for _ in range(self._senders)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def reached(self, count: int) -> None:
        """Wait until so many were answered 200."""
        async with asyncio.timeout(60):
            while len(self.acknowledged) < count:
                self._enough.clear()
                await self._enough.wait()

    async def more(self, count: int) -> None:
        """Wait until so many more were answered 200."""
        await self.reached(len(self.acknowledged) + count)

    async def _send(self) -> None:
        while True:
            process_id = f"load-{next(self._ids)}"
            body = {"dossierId": "d", "processId": process_id, "status": "accepted"}
            try:
                async with self._session.post(self.url, json=body, headers=HEADERS) as answer:
                    if answer.status == 200:
                        self.acknowledged.add(process_id)
                        self._enough.set()
                    else:
                        self.failed.append(f"{answer.status}")
            except aiohttp.ClientError as error:
                if not isinstance(error, aiohttp.ClientConnectorError):
                    self.failed.append(type(error).__name__)
                await asyncio.sleep(0.05)
            await asyncio.sleep(self._pause)
