"""Waits for a PostgreSQL server that could not be reached at the start."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from structlog.typing import FilteringBoundLogger

from reconciler.store.database import Database
from reconciler.store.errors import StoreUnavailableError

FIRST_WAIT = 1.0
LONGEST_WAIT = 10.0
"""Seconds between two attempts, doubling."""


class ServerWait:
    """Prepares the store as soon as its server is there; meanwhile callbacks go to the spool."""

    def __init__(
        self, database: Database, prepare: Callable[[], None], log: FilteringBoundLogger
    ) -> None:
        """``prepare`` is run in a thread, and again after StoreUnavailableError."""
        self._database = database
        self._prepare = prepare
        self._log = log
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Prepare the store as soon as it can be reached, then wait for ``stop``.

        Raises StoreError where it cannot be used, such as one of a newer version.
        """
        wait = FIRST_WAIT
        while not self._stopped.is_set() and not await self._attempt():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), wait)
            wait = min(2 * wait, LONGEST_WAIT)
        await self._stopped.wait()

    def stop(self) -> None:
        """Let ``run`` end."""
        self._stopped.set()

    async def _attempt(self) -> bool:
        try:
            await asyncio.to_thread(self._prepare)
        except StoreUnavailableError:
            return False
        self._database.mark_prepared()
        await log_opened(self._database, self._log)
        return True


async def log_opened(database: Database, log: FilteringBoundLogger) -> None:
    """Log that the store is open, with its durability, unless it has gone again."""
    with suppress(StoreUnavailableError):
        log.info("store_opened", **await database.durability())
