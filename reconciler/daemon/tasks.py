"""The parts of a daemon: run together, watched, and stopped in an order that loses nothing."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from reconciler.runtime.clock import Clock

STOP_LIMIT = 30.0
"""Seconds that a stop may take, from its begin to the end of the last part."""

CANCEL_LIMIT = 1.0
"""Seconds that a part which was cut short may take to end."""

RESTART = 5.0
"""Seconds after which a part that is kept alive is started again."""


class Runnable(Protocol):
    """One part of a daemon."""

    async def run(self) -> None:
        """Work until ``stop`` is called and what has begun is finished."""
        ...

    def stop(self) -> None:
        """Ask ``run`` to end. Never blocks."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """A part in the list of all, which has the order of the stop."""

    name: str
    work: Runnable
    after: tuple[str, ...] = ()
    """The parts that feed it: it is asked to stop once these have ended."""
    is_kept_alive: bool = False
    """Whether it is started again when it fails, instead of ending the daemon."""


class Tasks:
    """Runs the parts as one task each. The first to end is reason to stop all others."""

    def __init__(self, parts: Sequence[Part], clock: Clock, log: FilteringBoundLogger) -> None:
        """A part stands behind those that it is ``after``."""
        self._parts = parts
        self._clock = clock
        self._log = log
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._stop_begun = 0.0
        self.failed = asyncio.Event()
        """Set when a part without which the daemon cannot be has ended by itself."""

    @property
    def is_stopping(self) -> bool:
        """Whether the stop has begun."""
        return self._stopping.is_set()

    @property
    def stopping_for(self) -> float:
        """Seconds since the stop began."""
        return self._clock.monotonic() - self._stop_begun

    @property
    def has_time(self) -> bool:
        """Whether the stop has left enough for what may be done and need not."""
        return self.stopping_for < STOP_LIMIT / 2

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all parts for the length of the block, and stop them in order at its end."""
        failure: BaseException | None = None
        async with asyncio.TaskGroup() as group:
            for part in self._parts:
                self._tasks[part.name] = group.create_task(self._guarded(part), name=part.name)
            try:
                yield
            except BaseException as error:  # noqa: BLE001 (raised below: not as a group of one)
                failure = error
            await self._stop_in_order()
        if failure is not None:
            raise failure

    async def _stop_in_order(self) -> None:
        self.begin_stop()
        for part in self._parts:
            await self._ended(*part.after)
            part.work.stop()
        await self._ended(*self._tasks)

    def begin_stop(self) -> None:
        """Start the clock of the stop, if it does not run yet; nothing is started again."""
        if not self.is_stopping:
            self._stop_begun = self._clock.monotonic()
            self._stopping.set()

    async def _ended(self, *names: str) -> None:
        """Wait for the parts of these names; cut short what takes too long."""
        left = {self._tasks[name] for name in names if not self._tasks[name].done()}
        if not left:
            return
        _, late = await asyncio.wait(left, timeout=max(0.1, STOP_LIMIT - self.stopping_for))
        for task in late:
            self._log.warning("stop_cut_short", part=task.get_name())
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=CANCEL_LIMIT)

    async def _guarded(self, part: Part) -> None:
        """Run a part and tell when it fails: an exception must not cancel the other parts."""
        while True:
            failure: Exception | None = None
            try:
                await part.work.run()
            except Exception as error:  # noqa: BLE001 (a part's border)
                failure = error
            if self.is_stopping and failure is None:
                return
            if not part.is_kept_alive:
                self._log.error("part_failed", part=part.name, exc_info=failure)
                self.failed.set()
                return
            self._log.error("part_restarted", part=part.name, exc_info=failure)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), RESTART)
                return
