"""Virtual time: a loop whose clock jumps to the next moment at which anything happens.

The world outside of the daemon (Assure, the application, the machine) is a list of events on the
same clock. It outlives the loop: a daemon that crashes leaves its loop behind, and the next one
begins on a loop of its own, in the same world.
"""

import asyncio
import heapq
import math
import traceback
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, cast

from reconciler.runtime.clock import Clock

EPOCH = 1_800_000_000_000
"""The wall clock at the begin of a run, in UTC milliseconds."""

LOOKING = {"drain"}
"""The tasks whose timers only look whether there is anything to do."""

AWAKE = 6.0
"""Seconds after something that may need them in which those timers run: one tick of each job."""


class Crash(BaseException):
    """The daemon ends here, between two steps of its loop, as by SIGKILL."""


class StuckError(AssertionError):
    """Nothing will ever happen any more, and somebody waits."""


class World:
    """The time, and what happens outside of the daemon. Times are seconds from the begin."""

    def __init__(self) -> None:
        self.now = 0.0
        self.awake_until = 0.0
        """Until when the daemon's timers that only look run too."""
        self.wall_offset = 0
        """Milliseconds by which the wall clock was set."""
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = count()
        self.lines: list[str] = []
        """The log of the run."""

    @property
    def wall(self) -> int:
        """The wall clock, in UTC milliseconds."""
        return EPOCH + self.wall_offset + math.floor(self.now * 1000)

    @property
    def next_at(self) -> float:
        """When the next event is; infinite where there is none."""
        return self._events[0][0] if self._events else math.inf

    def at(self, at: float, event: Callable[[], None]) -> None:
        """Let ``event`` happen at this time, or now."""
        heapq.heappush(self._events, (max(at, self.now), next(self._serial), event))

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Let ``event`` happen in so many seconds."""
        self.at(self.now + seconds, event)

    def happen(self) -> None:
        """Move the time to the next event and let it happen."""
        at, _, event = heapq.heappop(self._events)
        self.now = max(self.now, at)
        event()

    def wake(self) -> None:
        """Let the timers that only look run for a while."""
        self.awake_until = self.now + AWAKE

    def pass_until(self, end: float) -> None:
        """Let time pass while no daemon runs."""
        while self.next_at <= end:
            self.happen()
        self.now = max(self.now, end)

    def say(self, who: str, what: str) -> None:
        """Write a line of the log."""
        self.lines.append(f"{self.now:.3f} {who}: {what}")


class WorldClock(Clock):
    """The clocks of the machine on which the daemon runs."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> int:
        return self._world.wall

    def monotonic(self) -> float:
        return self._world.now


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop that never waits: it moves the world's clock.

    Timers that only look whether there is anything to do run after the start, before an end and
    after a fault of the disk. At other times they would find nothing, thousands of times a day, and
    are left out; but for the sweep, which runs at each moment at which something is due.
    """

    def __init__(self, world: World, next_due: Callable[[], float], faults: list[str]) -> None:
        """``next_due`` tells when something in the store is due next, on the world's clock.

        ``faults``: where exceptions are noted that nobody has taken.
        """
        super().__init__()
        self._faults = faults
        self._is_dead = False
        self._left_behind: list[asyncio.Task[Any]] = []
        self._timers: tuple[list[Any], ...] = ()
        self._world = world
        self._next_due = next_due
        self._looks: list[asyncio.TimerHandle] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._left = math.inf

    def stop_for_ever(self) -> None:
        """Run nothing any more; all tasks stay as they are."""
        self._is_dead = True
        self._left_behind = list(asyncio.all_tasks(self))
        self._timers = (list(self._ready), list(self._scheduled))  # type: ignore[attr-defined]

    def forget(self) -> None:
        """End all tasks; what they still say is not heard."""
        asyncio._set_running_loop(self)
        try:
            for _ in range(2):  # what ends makes new ones, which never begin
                for task in asyncio.all_tasks(self):
                    with suppress(BaseException):
                        cast(Any, task.get_coro()).close()
        finally:
            asyncio._set_running_loop(None)
        self._left_behind.clear()
        self._timers = ()
        self._looks.clear()
        self._ready.clear()  # type: ignore[attr-defined]
        self._scheduled.clear()  # type: ignore[attr-defined]
        self.close()

    def _check_closed(self) -> None:
        if not self._is_dead:
            super()._check_closed()  # type: ignore[misc]

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Note an exception that nobody has taken."""
        if not self._is_dead:
            error = context.get("exception")
            told = "".join(traceback.format_exception(error)) if error else ""
            self._faults.append(f"{context.get('message')}: {told}")

    def crash_after(self, steps: int) -> None:
        """Raise ``Crash`` out of the loop after so many steps."""
        self._left = steps

    def time(self) -> float:
        return self._world.now

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        task = asyncio.current_task(self)
        if task is None or task.get_name() not in LOOKING:
            return super().call_at(when, callback, *args, context=context)
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._looks, timer)
        return timer

    def look_later(
        self, seconds: float, callback: Callable[..., object], *, is_sweep: bool
    ) -> None:
        """Call ``callback`` to look whether there is anything to do."""
        timer = asyncio.TimerHandle(self.time() + seconds, callback, (), self)
        heapq.heappush(self._looks, timer)
        if is_sweep:
            self._sweep = timer

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Call ``func`` here, in a step of its own, also if nobody waits for it any more."""
        future = self.create_future()

        def run() -> None:
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 (handed to who waits, as a thread does)
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        self.call_soon(run)
        return future

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        """Do nothing: no bytes come through the kernel."""

    def remove_reader(self, fd: Any) -> bool:
        return True

    def _run_once(self) -> None:
        if not self._ready:  # type: ignore[attr-defined]
            self._jump()
        self._wake_due()
        ready = self._ready  # type: ignore[attr-defined]
        for _ in range(len(ready)):
            if self._left <= 0:
                raise Crash
            self._left -= 1
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _wake_due(self) -> None:
        now, timers = self._world.now, self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0]._when <= now:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            self._ready.append(timer)  # type: ignore[attr-defined]
        while self._looks and self._looks[0].when() <= now <= self._world.awake_until:
            self._ready.append(heapq.heappop(self._looks))  # type: ignore[attr-defined]

    def _jump(self) -> None:
        """Move to the next timer, or let the next event of the world happen before it."""
        world = self._world
        timers = self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        at = min(timers[0]._when if timers else math.inf, self._next_look())
        due = self._next_due() if at > world.now else math.inf
        next_at = min(at, due, world.next_at)
        if next_at == math.inf:
            raise StuckError(f"the daemon waits for ever: {self._waiting()}")
        if world.next_at <= next_at:
            world.happen()
            return
        world.now = max(world.now, next_at)
        if due <= at and self._sweep is not None:
            self._looks.remove(self._sweep)
            heapq.heapify(self._looks)
            self._ready.append(self._sweep)  # type: ignore[attr-defined]

    def _next_look(self) -> float:
        """Return when the next timer is that only looks, while the machine is awake."""
        looks = self._looks
        while looks and looks[0]._cancelled:
            heapq.heappop(looks)
        at = looks[0].when() if looks else math.inf
        return at if at <= self._world.awake_until else math.inf

    def _waiting(self) -> str:
        """Return for each task the line on which it waits."""
        stacks = {task.get_name(): task.get_stack(limit=1) for task in asyncio.all_tasks(self)}
        where = (f"{n} in {s[-1].f_code.co_qualname}" for n, s in stacks.items() if s)
        return ", ".join(sorted(where))

    def _write_to_self(self) -> None:
        pass

    def _process_events(self, event_list: Any) -> None:
        pass
