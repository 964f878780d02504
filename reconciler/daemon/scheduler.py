"""Repeated work: APScheduler says when, and each job is a task of its own that it wakes.

APScheduler's own job only rings a bell. So nothing is lost when a run is missed, and nothing is
cut short when the scheduler stops. Due times of processes are rows in the store, never jobs.

The reasons: docs/decisions/001.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from structlog.typing import FilteringBoundLogger

from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.store.errors import StoreError, StoreUnavailableError

STALE = 30.0
"""Seconds after which a job that has made no progress makes the daemon not alive."""

TOLERANCE = timedelta(seconds=1)
"""How far from its interval a tick may be before the wall clock must have jumped."""


class Job(Protocol):
    """Work that is done each time its bell rings, never twice at once."""

    @property
    def name(self) -> str:
        """Its name in the log and in metrics."""
        ...

    @property
    def bell(self) -> Bell:
        """Rung by the scheduler, and by whoever wants the work done now."""
        ...

    @property
    def seconds(self) -> float:
        """How often the scheduler rings."""
        ...

    async def turn(self) -> bool:
        """Do a bounded piece of the work; True where there is more of it."""
        ...


class JobLoop:
    """The task of one job."""

    def __init__(self, job: Job, clock: Clock, log: FilteringBoundLogger) -> None:
        self.job = job
        self._clock = clock
        self._log = log
        self._is_stopping = False
        self._has_store = True
        self.progressed_at = clock.monotonic()
        """When a piece of its work last came to an end, in seconds of the monotonic clock."""

    def stop(self) -> None:
        """Let ``run`` end after the present piece."""
        self._is_stopping = True
        self.job.bell.ring()

    async def run(self) -> None:
        """Work whenever the bell has rung, until ``stop``."""
        while True:
            await self.job.bell.wait()
            if self._is_stopping:
                return
            if await self._turn():
                self.job.bell.ring()
                await asyncio.sleep(0)  # a bell that has rung is waited for without a pause
            self.progressed_at = self._clock.monotonic()

    async def _turn(self) -> bool:
        name = self.job.name
        try:
            has_more = await self.job.turn()
        except StoreUnavailableError as error:
            if self._has_store:  # degraded operation is said once
                self._has_store = False
                self._log.error("job_failed", job=name, reason=str(error))
            return False
        except StoreError as error:
            self._log.error("job_failed", job=name, reason=str(error))
            return False
        except Exception as error:  # noqa: BLE001 (a task's border: the next turn may succeed)
            self._log.error("job_failed", job=name, exc_info=error)
            return False
        self._has_store = True
        return has_more


class Scheduler:
    """Runs all jobs of a daemon, and tells which of them makes no progress."""

    def __init__(self, clock: Clock, log: FilteringBoundLogger) -> None:
        self._clock = clock
        self._log = log
        self._loops: list[JobLoop] = []
        self._ticker: AsyncIOScheduler | None = None
        self._is_stopping = False

    def add(self, job: Job) -> None:
        """Have ``job`` done from ``run`` on."""
        self._loops.append(JobLoop(job, self._clock, self._log))

    async def run(self) -> None:
        """Do each job at its times until ``stop``, and end with the present pieces."""
        self._ticker = _ticker([loop.job for loop in self._loops], self._log)
        try:
            async with asyncio.TaskGroup() as group:
                for loop in self._loops:
                    group.create_task(loop.run(), name=loop.job.name)
        finally:
            self._end_ticks()

    def stop(self) -> None:
        """Ring no more, and let each job end after its present piece."""
        self._is_stopping = True
        self._end_ticks()
        for loop in self._loops:
            loop.stop()

    def reschedule(self) -> None:
        """Ring from now on as often as the jobs say now."""
        if self._ticker is None:
            return
        for loop in self._loops:
            scheduled = self._ticker.get_job(loop.job.name)
            if scheduled.trigger.interval.total_seconds() != loop.job.seconds:
                scheduled.reschedule("interval", seconds=loop.job.seconds)

    def wakeup(self) -> None:
        """Ring for what is due by the wall clock, as the scheduler's own timer does."""
        if self._ticker is not None:
            self._ticker.wakeup()

    def next_in(self, name: str) -> float:
        """Return the seconds of the wall clock until the job ``name`` is rung for."""
        assert self._ticker is not None
        next_run: datetime = self._ticker.get_job(name).next_run_time
        return (next_run - datetime.now(UTC)).total_seconds()

    def stale(self) -> list[str]:
        """Return the jobs that have made no progress for too long; none during a stop."""
        if self._is_stopping:
            return []
        now = self._clock.monotonic()
        return [
            loop.job.name
            for loop in self._loops
            if now - loop.progressed_at > max(STALE, 3 * loop.job.seconds)
        ]

    def _end_ticks(self) -> None:
        if self._ticker is not None:
            self._ticker.shutdown(wait=False)
            self._ticker = None


class _Ticker(AsyncIOScheduler):  # type: ignore[misc]  # APScheduler has no annotations
    """Ticks by the interval whatever the wall clock does.

    APScheduler stores wall times. After a jump back it would be silent for as long as the jump,
    after a jump forward it would count every tick of it.
    """

    def wakeup(self) -> None:
        """Run what is due. A monotonic timer calls this at least once in the shortest interval."""
        now = datetime.now(UTC)
        for job in self.get_jobs():
            if abs(job.next_run_time - now) > job.trigger.interval + TOLERANCE:
                job.modify(next_run_time=now)  # which calls this method again
                return
        super().wakeup()


def _ticker(jobs: Sequence[Job], log: FilteringBoundLogger) -> _Ticker:
    """Return a running APScheduler that rings the bell of each job."""
    ticker = _Ticker(
        # It calls a job on the loop; the usual executor would call it in a thread.
        executors={"default": DebugExecutor()},
        timezone="UTC",
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )

    def on_trouble(event: JobExecutionEvent) -> None:
        log.error("job_missed", job=event.job_id)

    ticker.add_listener(on_trouble, EVENT_JOB_ERROR | EVENT_JOB_MISSED)
    for job in jobs:
        ticker.add_job(job.bell.ring, "interval", seconds=job.seconds, id=job.name)
    ticker.start()
    return ticker
