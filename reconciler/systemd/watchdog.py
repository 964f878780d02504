"""The pings that keep the service manager from killing us, as long as all is alive."""

import asyncio
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from reconciler.systemd.notify import Notifier


class Watchdog:
    """Pings at half of the manager's time-out, from the event loop and only while nothing is stale.

    So a loop that stands still, and an event loop that is blocked, both end the pings, and the
    manager ends the process.
    """

    def __init__(
        self, notifier: Notifier, *, stale: Callable[[], list[str]], log: FilteringBoundLogger
    ) -> None:
        """``stale`` returns the names of what has not ticked lately."""
        self._notifier = notifier
        self._stale = stale
        self._log = log
        self._timer: asyncio.TimerHandle | None = None
        self._was_stale: list[str] = []

    def start(self) -> None:
        """Ping from now on, if anybody watches."""
        if self._notifier.watchdog_timeout is not None:
            self._ping(self._notifier.watchdog_timeout / 2)

    def stop(self) -> None:
        """Ping no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ping(self, interval: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(interval, self._ping, interval)
        stale = self._stale()
        if not stale:
            self._notifier.watchdog()
        elif stale != self._was_stale:
            self._log.error("watchdog_withheld", loops=stale)
        self._was_stale = stale
