"""Bells: how one part tells another that there is something to do, without knowing it."""

import asyncio


class Bell:
    """A named event for one waiting part. Ringing never blocks; rings before a wait are one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._event = asyncio.Event()

    @property
    def is_rung(self) -> bool:
        """Whether the next ``wait`` returns at once."""
        return self._event.is_set()

    def ring(self) -> None:
        """Wake the part that waits, or the next one that will."""
        self._event.set()

    async def wait(self) -> None:
        """Return once the bell has rung since the last ``wait``."""
        await self._event.wait()
        self._event.clear()
