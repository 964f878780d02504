"""Coarse, repeated work. APScheduler says when; each chore is a task of its own that it wakes.

A job of the scheduler only sets an event, so nothing is lost when a run is missed and nothing is
cut short when the scheduler stops. Due times of processes are rows, never jobs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from structlog.typing import FilteringBoundLogger

from reconciler.store.errors import StoreError, StoreUnavailableError

TOLERANCE = timedelta(seconds=1)
"""How far from its interval a tick may be before the wall clock must have jumped."""


class Job:
    """Work that is done each time it is woken, never twice at once."""

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[bool | None]],
        *,
        monotonic: Callable[[], float],
        log: FilteringBoundLogger,
    ) -> None:
        """``work`` does a bounded piece and returns True where there is more of it."""
        self.name = name
        self._work = work
        self._monotonic = monotonic
        self._log = log
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._has_store = True
        self.ran_at = monotonic()
        """When it last came to an end, or forward, by the monotonic clock in seconds."""

    def wake(self) -> None:
        """Do the work as soon as may be."""
        self._wake.set()

    def progressed(self) -> None:
        """A piece of a long turn is done: it does not stand still."""
        self.ran_at = self._monotonic()

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
            if await self._turn():
                self._wake.set()
                await asyncio.sleep(0)  # an event that is set is waited for without a pause
            self.progressed()

    async def _turn(self) -> bool:
        try:
            has_more = bool(await self._work())
        except StoreUnavailableError as error:
            if self._has_store:  # degraded operation: said once
                self._has_store = False
                self._log.error("job_failed", job=self.name, reason=str(error))
            return False
        except StoreError as error:
            self._log.error("job_failed", job=self.name, reason=str(error))
            return False
        except Exception as error:  # noqa: BLE001 (a task's border: the next turn may succeed)
            self._log.error("job_failed", job=self.name, exc_info=error)
            return False
        self._has_store = True
        return has_more


class _Scheduler(AsyncIOScheduler):  # type: ignore[misc]  # APScheduler has no annotations
    """Ticks by the interval whatever the wall clock does.

    APScheduler stores wall times: after a jump back it would be silent for as long as the jump,
    after a jump forward count every tick of it.
    """

    def wakeup(self) -> None:
        """Run what is due. Called by a monotonic timer at least once in the shortest interval."""
        now = datetime.now(UTC)
        for job in self.get_jobs():
            if abs(job.next_run_time - now) > job.trigger.interval + TOLERANCE:
                job.modify(next_run_time=now)  # which calls this method again
                return
        super().wakeup()


def schedule(chores: dict[Job, float], log: FilteringBoundLogger) -> AsyncIOScheduler:
    """Return a running scheduler that wakes each chore every so many seconds."""
    scheduler = _Scheduler(
        # Calls a job where it stands, on the loop; the usual one would call it in a thread.
        executors={"default": DebugExecutor()},
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


def reschedule(scheduler: AsyncIOScheduler, chore: Job, seconds: float) -> None:
    """Wake ``chore`` every so many seconds from now on."""
    scheduler.reschedule_job(chore.name, trigger="interval", seconds=seconds)
