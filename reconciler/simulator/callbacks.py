"""Sends the callbacks of the simulated Assure: once each, with 10 s for an answer, never again."""

import asyncio

import aiohttp
import orjson
from structlog.typing import FilteringBoundLogger
from yarl import URL

from reconciler.simulator.odd_json import ODDITIES
from reconciler.simulator.process import Callback
from reconciler.simulator.world import World

AT_ONCE = 100
"""Callbacks in flight at one moment. The 10 s of the others begin after their wait."""


class CallbackSender:
    """Posts callbacks to one notification URL from a client session of its own.

    `timeout`: seconds that the receiver has, from connecting to the status line.
    """

    def __init__(self, world: World, *, timeout: float, log: FilteringBoundLogger) -> None:
        self._world = world
        self._log = log
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._headers: dict[str, str] = {}
        self.url = ""

    def aim(self, url: str, authorization: str) -> None:
        """Set the notification URL and the Authorization value; "" for none.

        ValueError says what is wrong with either. Without a URL no callback is sent, as for a
        process that was created without one.
        """
        if url and (URL(url).scheme not in ("http", "https") or not URL(url).host):
            raise ValueError("the callback URL is not an http or https URL")
        if not authorization.isprintable() or not authorization.isascii():
            raise ValueError("the Authorization value is not printable ASCII")
        self.url = url
        self._headers = {"Content-Type": "application/json"}
        if authorization:
            self._headers["Authorization"] = authorization

    def open(self) -> None:
        """Open the session; within a running loop."""
        # A short keep-alive: a callback lost to a stale connection would be a fault that nobody
        # asked for.
        connector = aiohttp.TCPConnector(limit=AT_ONCE, keepalive_timeout=2)
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)

    async def close(self) -> None:
        """Cancel the callbacks in flight and close the session."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def send(self, callback: Callback) -> None:
        """Send it in the background, without any retry."""
        if self._session is None or not self.url:
            return
        task = asyncio.create_task(self._send(self._session, callback))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _body(self, callback: Callback) -> bytes:
        faults, body = self._world.faults, callback.body()
        if faults.capital_ids:
            body |= {name: body[name].upper() for name in ("dossierId", "processId")}
        return ODDITIES[faults.odd_json](orjson.dumps(body))

    async def _send(self, session: aiohttp.ClientSession, callback: Callback) -> None:
        async with self._slots:
            process_id = callback.process_id
            self._world.processes[process_id].callbacks_sent += 1
            call = self._world.log.begin("callback", process_id)
            http_status = 0
            try:
                async with session.post(
                    self.url,
                    data=self._body(callback),
                    headers=self._headers,
                    allow_redirects=False,
                ) as response:
                    http_status = response.status
            except (aiohttp.ClientError, TimeoutError) as failure:
                self._log.debug(
                    "simulator_callback_failed",
                    process_id=process_id,
                    error=type(failure).__name__,
                )
            else:
                self._log.debug(
                    "simulator_callback_sent", process_id=process_id, http_status=http_status
                )
            finally:
                self._world.log.end(call, http_status)
                self._world.changed()
