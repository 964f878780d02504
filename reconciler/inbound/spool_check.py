"""Proves that the spool takes callbacks before it is needed."""

import asyncio

from structlog.typing import FilteringBoundLogger

from reconciler.inbound.spool import Spool
from reconciler.runtime.bounded_wait import wait_at_most
from reconciler.runtime.disk import name_of

SECONDS = 4.0
"""After which a spool that has not written counts as unusable."""


class SpoolCheck:
    """Writes to the spool and removes it again; tells of a failure once, until it works again."""

    def __init__(self, spool: Spool, log: FilteringBoundLogger) -> None:
        self._spool = spool
        self._log = log
        self._hanging: asyncio.Task[None] | None = None
        self.trouble: str | None = None
        """Why the spool could not be written to, the last time that it was tried."""

    async def check(self) -> str | None:
        """Return why the spool cannot be written to; None where it can."""
        try:
            await self._probe()
        except OSError as error:
            trouble = name_of(error)
            if trouble != self.trouble:
                self._log.error("spool_unusable", path=str(self._spool.directory), reason=trouble)
            self.trouble = trouble
        else:
            if self.trouble is not None:
                self._log.info("spool_usable", path=str(self._spool.directory))
            self.trouble = None
        return self.trouble

    async def _probe(self) -> None:
        """Probe, but not again while a probe hangs. Raises OSError."""
        if self._hanging is not None and not self._hanging.done():
            raise TimeoutError
        self._hanging = asyncio.create_task(asyncio.to_thread(self._spool.probe))
        await wait_at_most(self._hanging, SECONDS)
