"""All chores of a daemon: how often each is done, and which of them stands still."""

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from structlog.typing import FilteringBoundLogger

from reconciler.daemon.scheduler import Job, reschedule, schedule

STALE = 30.0
"""Seconds after which a loop that has not ticked makes the daemon not alive."""


class Scheduler:
    """The chores by name."""

    def __init__(self, *, monotonic: Callable[[], float], log: FilteringBoundLogger) -> None:
        self._monotonic = monotonic
        self._log = log
        self._chores: dict[str, Job] = {}
        self._seconds: dict[str, float] = {}
        self._scheduler: AsyncIOScheduler | None = None

    def add(self, name: str, work: Callable[[], Awaitable[bool | None]], seconds: float) -> None:
        """Have ``work`` done every so many seconds."""
        self._chores[name] = Job(name, work, monotonic=self._monotonic, log=self._log)
        self._seconds[name] = seconds

    def runs(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """Yield each chore's loop, to be run as a task of that name."""
        for name, chore in self._chores.items():
            yield name, chore.run()

    def begin(self) -> None:
        """Wake each chore at its times from now on."""
        times = {chore: self._seconds[name] for name, chore in self._chores.items()}
        self._scheduler = schedule(times, self._log)

    def change(self, name: str, seconds: float) -> None:
        """Have a chore done every so many seconds from now on."""
        if self._seconds[name] != seconds:
            self._seconds[name] = seconds
            if self._scheduler is not None:
                reschedule(self._scheduler, self._chores[name], seconds)

    def stop(self) -> None:
        """Wake nobody any more, and let each loop end after its present turn."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None
        for chore in self._chores.values():
            chore.stop()

    def wake(self, name: str) -> None:
        """Do a chore now instead of with the next tick."""
        self._chores[name].wake()

    def progressed(self, name: str) -> None:
        """A turn that takes long has got further: it does not stand still."""
        self._chores[name].progressed()

    def stale(self) -> list[str]:
        """Return the chores that have not come to an end for too long."""
        now = self._monotonic()
        return [
            name
            for name, chore in self._chores.items()
            if now - chore.ran_at > max(STALE, 3 * self._seconds[name])
        ]
