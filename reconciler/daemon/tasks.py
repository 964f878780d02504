"""The tasks of a daemon: named, watched, and ended in order."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from structlog.typing import FilteringBoundLogger

STOP_LIMIT = 30.0
"""Seconds that a stop may take, from its begin to the last task's end."""

RESTART = 5.0
"""Seconds after which a part that died is started again, if the daemon can do without it."""


class Tasks:
    """A flat list of named tasks; the first to end is reason to stop the others."""

    def __init__(self, *, monotonic: Callable[[], float], log: FilteringBoundLogger) -> None:
        self._monotonic = monotonic
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._stop_begun = 0.0

    @property
    def is_stopping(self) -> bool:
        """Whether the stop has begun."""
        return self._stopping.is_set()

    @property
    def has_ended(self) -> bool:
        """Whether a part without which the daemon cannot be has ended."""
        return any(task.done() for task in self._tasks)

    @property
    def has_time(self) -> bool:
        """Whether the stop has left enough for what may be done, and need not."""
        return self.stopping_for < STOP_LIMIT / 2

    @property
    def stopping_for(self) -> float:
        """Seconds since the stop began."""
        return self._monotonic() - self._stop_begun

    def start(self, name: str, run: Coroutine[Any, Any, None]) -> None:
        """Run a part without which the daemon cannot be."""
        self._tasks.append(asyncio.create_task(run, name=name))

    def start_kept_alive(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a part whose trouble must not stop what comes in: it is started again."""
        self.start(name, self._kept_alive(name, run))

    async def watch(self, stop: asyncio.Event) -> bool:
        """Wait until ``stop`` is set, or a part has ended; True if all are alive."""
        stopping = asyncio.create_task(stop.wait(), name="signal")
        done, _ = await asyncio.wait([*self._tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        dead = [task for task in self._tasks if task in done]
        for task in dead:
            self._log.error("part_failed", part=task.get_name(), exc_info=task.exception())
        return not dead

    def begin_stop(self) -> None:
        """Start the clock of the stop; nothing that dies is started again."""
        self._stop_begun = self._monotonic()
        self._stopping.set()

    async def finish(self, *names: str) -> None:
        """Wait for the parts of these names, or for all; what takes too long is cut short."""
        wanted = [task for task in self._tasks if not names or task.get_name() in names]
        if not wanted:
            return
        _, late = await asyncio.wait(wanted, timeout=max(0.1, STOP_LIMIT - self.stopping_for))
        for task in late:
            self._log.warning("stop_cut_short", part=task.get_name())
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)

    async def _kept_alive(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await run()
            except Exception as error:  # noqa: BLE001 (a part's border)
                self._log.error("part_restarted", part=name, exc_info=error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), RESTART)
                return None
