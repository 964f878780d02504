"""Alive means that the loops tick; ready means that a callback would be answered 200."""

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
    """What ``/live`` and ``/ready`` ask. A readiness check writes, so it is cached for 1 s."""

    stale_loops: Callable[[], list[str]]
    """Names of loops that have not ticked lately."""
    check: Callable[[], Awaitable[Readiness]]
    monotonic: Callable[[], float]
    cache: float = 1.0
    _last: tuple[float, Readiness] | None = field(default=None, repr=False)

    async def ready(self) -> Readiness:
        """Return a readiness that is at most a second old."""
        now = self.monotonic()
        if self._last is None or now - self._last[0] >= self.cache:
            self._last = (now, await self.check())
        return self._last[1]
