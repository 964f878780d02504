"""Coarse, repeated work. APScheduler says when; each chore is a task of its own that it wakes.

A job of the scheduler only sets an event, so nothing is lost when a run is missed and nothing is
cut short when the scheduler stops. Due times of processes are rows, never jobs.
"""

import asyncio
from collections.abc import Awaitable, Callable

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from structlog.typing import FilteringBoundLogger

from reconciler.store.errors import StoreError, StoreUnavailableError


class Chore:
    """Work that is done each time it is woken, never twice at once."""

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[None]],
        *,
        monotonic: Callable[[], float],
        log: FilteringBoundLogger,
    ) -> None:
        self.name = name
        self._work = work
        self._monotonic = monotonic
        self._log = log
        self._wake = asyncio.Event()
        self._is_stopping = False
        self.ran_at = monotonic()
        """When it last came to an end, by the monotonic clock in seconds."""

    def wake(self) -> None:
        """Do the work as soon as may be."""
        self._wake.set()

    def stop(self) -> None:
        """Let ``run`` end after the present turn."""
        self._is_stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Work whenever woken, until ``stop``."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._is_stopping:
                return
            try:
                await self._work()
            except StoreUnavailableError:
                pass  # degraded operation: said once, by whoever writes most
            except StoreError as error:
                self._log.error("job_failed", job=self.name, reason=str(error))
            self.ran_at = self._monotonic()


def schedule(chores: dict[Chore, float], log: FilteringBoundLogger) -> AsyncIOScheduler:
    """Return a running scheduler that wakes each chore every so many seconds."""
    scheduler = AsyncIOScheduler(
        timezone="UTC",
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )

    def on_trouble(event: JobExecutionEvent) -> None:
        log.error("job_missed", job=event.job_id)

    scheduler.add_listener(on_trouble, EVENT_JOB_ERROR | EVENT_JOB_MISSED)
    for chore, seconds in chores.items():
        scheduler.add_job(chore.wake, "interval", seconds=seconds, id=chore.name)
    scheduler.start()
    return scheduler
