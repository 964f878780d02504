"""Sends the pings without which the service manager kills this process."""

import asyncio
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from reconciler.systemd.notify import Notifier


class Jobs(Protocol):
    """The repeated jobs that must make progress."""

    def stale(self) -> list[str]:
        """Return the names of those that have made none lately."""
        ...


class Watchdog:
    """Pings at half of the manager's time-out, from the event loop, while no job is stale.

    So both a job that stands still and a blocked event loop end the pings, and the manager then
    ends the process.
    """

    def __init__(self, notifier: Notifier, jobs: Jobs, log: FilteringBoundLogger) -> None:
        self._notifier = notifier
        self._jobs = jobs
        self._log = log
        self._timer: asyncio.TimerHandle | None = None
        self._was_stale: list[str] = []

    def start(self) -> None:
        """Ping from now on, where the manager watches."""
        if self._notifier.watchdog_timeout is not None:
            self._ping(self._notifier.watchdog_timeout / 2)

    def stop(self) -> None:
        """Ping no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ping(self, interval: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(interval, self._ping, interval)
        stale = self._jobs.stale()
        if not stale:
            self._notifier.watchdog()
        elif stale != self._was_stale:
            self._log.error("watchdog_withheld", loops=stale)
        self._was_stale = stale
