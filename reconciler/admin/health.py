"""Alive means that the loops tick; ready means that a callback would be answered 200."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a callback would be kept, and what is not as it should be."""

    is_ready: bool
    degraded: tuple[str, ...] = ()
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the body of ``/ready``."""
        body: dict[str, Any] = {"ready": self.is_ready, "degraded": list(self.degraded)}
        return body if self.reason is None else {**body, "reason": self.reason}


@dataclass
class Health:
    """What ``/live`` and ``/ready`` ask.

    A readiness check writes, and anybody may ask for one: so it is cached for 1 s, and those who
    ask at the same moment share one.
    """

    stale_loops: Callable[[], list[str]]
    """Names of loops that have not ticked lately."""
    check: Callable[[], Awaitable[Readiness]]
    monotonic: Callable[[], float]
    cache: float = 1.0
    _last: tuple[float, Readiness] | None = field(default=None, repr=False)
    _checking: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def ready(self) -> Readiness:
        """Return what a check said that ended at most a second ago."""
        async with self._checking:
            if self._last is None or self.monotonic() - self._last[0] >= self.cache:
                readiness = await self.check()
                self._last = (self.monotonic(), readiness)
            return self._last[1]
