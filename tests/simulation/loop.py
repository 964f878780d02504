"""An event loop whose time jumps to the next timer, and in which nothing runs on a thread.

So a month passes in milliseconds, and the order of everything is decided by the program and its
seed alone. What blocks is called where it stands: a store on a real file answers at once, as far
as the virtual time is concerned.
"""

import asyncio
import selectors
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class StuckError(AssertionError):
    """Everything waits, and no timer will ever wake anything."""


class _TimeSelector(selectors.SelectSelector):
    """Waits for nothing: it moves the time of its loop instead."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise StuckError("everything waits for ever")
        if timeout > 0:
            self.loop.pass_time(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that begins at 0 seconds."""

    def __init__(self) -> None:
        self._virtual_time = 0.0
        selector = _TimeSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._virtual_time

    def pass_time(self, seconds: float) -> None:
        self._virtual_time += seconds

    def run_in_executor(  # type: ignore[override]  # returns a future that is done
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call ``func`` here and now, instead of on a thread."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 (it belongs to the caller)
            done.set_exception(error)
        return done
