"""An event loop in a thread: servers run on it while a test asks them from outside."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextlib import AbstractAsyncContextManager

PATIENCE = 60.0
"""Seconds after which something has hung, on a slow, busy machine."""

T = TypeVar("T")

_LIBRARIES = ("aiohttp", "asyncio", "aiosqlite", "sqlalchemy")


class LoopInThread(logging.Handler):
    """Runs coroutines for a thread without a loop. A context manager."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._loop = uvloop.new_event_loop()
        self._loop.set_exception_handler(lambda _, context: self.failures.append(context))
        self._thread = threading.Thread(target=self._loop.run_forever, name="fuzz")
        self._stack = AsyncExitStack()
        self.failures: list[object] = []
        """Exceptions that nobody caught, and warnings that a library has logged."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter ``manager``; it is left when the loop is closed."""
        return self.run(self._stack.enter_async_context(manager))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what a library logs."""
        self.failures.append((record.getMessage(), record.exc_info))

    def __enter__(self) -> LoopInThread:
        for name in _LIBRARIES:
            logging.getLogger(name).addHandler(self)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.run(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            for name in _LIBRARIES:
                logging.getLogger(name).removeHandler(self)
