"""Sends the dead-man ping: one GET that says "all is well". Another service notices its absence.

It runs in the background and is not repeated; a failure is logged once until a ping succeeds again.
The URL is a secret and is never logged.
"""

import asyncio

from aiohttp import ClientSession
from structlog.typing import FilteringBoundLogger
from yarl import URL

from reconciler.outbound.errors import CallError
from reconciler.outbound.transport import Transport
from reconciler.runtime.clock import Clock

TIMEOUT = 10.0
"""Seconds that a ping may take."""

LENIENCE = 0.1
"""The part of the interval that a ping may come early: summaries are not made to the millisecond,
and one that came a moment late must not cost the next ping."""


class Ping:
    """Pings one URL at a time, in the background."""

    def __init__(self, session: ClientSession, clock: Clock, log: FilteringBoundLogger) -> None:
        """``session`` is closed by ``stop``."""
        self._session = session
        self._transport = Transport(session, log, clock=clock, timeout=TIMEOUT)
        self._clock = clock
        self._log = log
        self._url = ""
        self._sent_at: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_failing = False

    def send(self, url: str, interval: float) -> None:
        """Ping ``url`` now, unless one is on its way or the last was within ``interval`` seconds.

        Another URL than the last one is pinged at once, so that it is seen to work.
        """
        if self._task is not None and not self._task.done():
            return
        now = self._clock.monotonic()
        is_new, self._url = url != self._url, url
        shortest = interval * (1 - LENIENCE)
        if not is_new and self._sent_at is not None and now - self._sent_at < shortest:
            return
        self._sent_at = now
        self._task = asyncio.create_task(self._ping(URL(url)), name="ping")

    async def stop(self) -> None:
        """Give up a ping that is on its way, and close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._session.close()

    async def _ping(self, url: URL) -> None:
        try:
            answer = await self._transport.send("ping", "GET", url, headers={"Accept": "*/*"})
            error = None if answer.succeeded else f"http_{answer.http_status}"
        except CallError as failure:
            error = failure.code
        if error is not None and not self._is_failing:
            self._log.warning("heartbeat_failed", error=error)
        elif error is None and self._is_failing:
            self._log.info("heartbeat_recovered")
        self._is_failing = error is not None
