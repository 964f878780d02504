"""The deliverer in use. A reload puts another in its place, and loses nothing by it."""

import asyncio
from dataclasses import dataclass

from aiohttp import ClientSession

from reconciler.delivery.deliverer import Deliverer


@dataclass(frozen=True, slots=True)
class Line:
    """A deliverer with the connections that are its own."""

    deliverer: Deliverer
    session: ClientSession


class Outlet:
    """Runs one deliverer after the other, or none while there is nobody to deliver to."""

    def __init__(self, line: Line | None) -> None:
        self._line = line
        self._retired: list[Line] = []
        self._changed = asyncio.Event()
        self._is_stopping = False

    def wake(self) -> None:
        """Look for deliveries as soon as may be."""
        if self._line is not None:
            self._line.deliverer.wake()

    def use(self, line: Line | None) -> None:
        """Have ``line`` take over when what the present one has begun is written down."""
        if self._line is not None:
            self._line.deliverer.stop()
            self._retired.append(self._line)
        self._line = line
        if self._is_stopping:
            self.stop()
        self._changed.set()
        self.wake()

    def stop(self) -> None:
        """Begin nothing more; what is on its way is finished and written down."""
        self._is_stopping = True
        if self._line is not None:
            self._line.deliverer.stop()
        self._changed.set()

    async def run(self) -> None:
        """Deliver until ``stop``. If it fails it can be run again."""
        while not self._is_stopping:
            await self._close_retired()
            if self._line is not None:
                await self._line.deliverer.run()
            else:
                await self._changed.wait()
                self._changed.clear()

    async def close(self) -> None:
        """Close all connections, after ``run`` has ended."""
        await self._close_retired()
        if self._line is not None:
            await self._line.session.close()

    async def _close_retired(self) -> None:
        while self._retired:
            await self._retired.pop().session.close()
