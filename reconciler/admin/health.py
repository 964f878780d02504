"""Health: alive means that every job makes progress; ready, that callbacks are answered 200."""

from dataclasses import dataclass
from typing import NotRequired, Protocol

from typing_extensions import TypedDict  # pydantic takes Python's own only from 3.12 on

from reconciler.runtime.clock import Clock
from reconciler.runtime.single_flight import SingleFlight
from reconciler.store.instances import Instance

LIMIT = 10.0
"""Seconds after which a check that has not ended counts as failed; it ends by itself before."""


class ReadyJson(TypedDict):
    """The body of ``/ready``."""

    ready: bool
    degraded: list[str]
    reason: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a callback would be kept, and what is degraded."""

    is_ready: bool
    degraded: tuple[str, ...] = ()
    reason: str | None = None

    def as_json(self) -> ReadyJson:
        """Return the body of ``/ready``."""
        body = ReadyJson(ready=self.is_ready, degraded=list(self.degraded))
        if self.reason is not None:
            body["reason"] = self.reason
        return body


class Described(Protocol):
    """A daemon that can describe itself."""

    def instance(self) -> Instance:
        """Return its row as of now."""
        ...


class Jobs(Protocol):
    """The repeated work of a daemon."""

    def stale(self) -> list[str]:
        """Return the names of jobs that have made no progress for too long."""
        ...


class Check(Protocol):
    """The proof that a callback would be kept."""

    async def check(self) -> Readiness:
        """Return what holds now. It writes, so it costs something."""
        ...


class Health:
    """Answers ``/live`` and ``/ready``, which need no token: at most one check a second."""

    def __init__(self, jobs: Jobs, check: Check, clock: Clock) -> None:
        self._jobs = jobs
        self._check = SingleFlight(check.check, clock)

    def stale(self) -> list[str]:
        """Return the names of jobs that have made no progress for too long."""
        return self._jobs.stale()

    async def ready(self, seconds: float = LIMIT) -> Readiness:
        """Return the result of a check of the last second; not ready after ``seconds``."""
        try:
            return await self._check.get(seconds)
        except TimeoutError:
            return Readiness(False, reason="the check of readiness does not end")
