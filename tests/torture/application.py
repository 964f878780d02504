"""The user's application: it takes deliveries, and remembers each in the order of arrival."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import orjson
from aiohttp import web
from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

TROUBLED = 0.05
"""The share of deliveries that it takes and answers 503 even so."""

SLOWEST = 0.05
"""Seconds until an answer at most, so that a death finds deliveries that wait for their turn."""


@dataclass(frozen=True)
class ArrivalDeath:
    """The daemon is killed when its nth delivery has arrived, before the answer."""

    nth: int

    def __str__(self) -> str:
        return f"at delivery {self.nth}"


class Arrival(NamedTuple):
    """One delivery as it arrived."""

    webhook_id: str
    process_id: str
    status: str | None
    revision: int
    text: str
    """The body."""


class Application:
    """Verifies each delivery, and is not always well."""

    def __init__(self, chance: Random) -> None:
        self.arrivals: list[Arrival] = []
        self.url = ""
        self._chance = chance
        self._until_kill = 0
        self._kill: Callable[[], None] = lambda: None

    def arm(self, death: ArrivalDeath | None, kill: Callable[[], None]) -> None:
        """Call ``kill`` at the delivery of ``death``, counted from now."""
        self._until_kill, self._kill = death.nth if death else 0, kill

    def environ(self) -> dict[str, str]:
        """Return the variables that point a daemon at it."""
        return {
            "RECONCILER_DELIVERY__URL": self.url,
            "RECONCILER_DELIVERY__SECRET": SECRET,
            "RECONCILER_DELIVERY__TIMEOUT": "1s",
            "RECONCILER_DELIVERY__MAX_CONCURRENCY": "4",
            "RECONCILER_DELIVERY__BACKOFF": '{"initial": "100ms", "max": "500ms"}',
        }

    def of_each_process(self) -> dict[str, list[Arrival]]:
        """Return the arrivals by process."""
        found: dict[str, list[Arrival]] = {}
        for arrival in self.arrivals:
            found.setdefault(arrival.process_id, []).append(arrival)
        return found

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        Webhook(SECRET).verify(body, dict(request.headers))
        data: dict[str, Any] = orjson.loads(body)["data"]
        self.arrivals.append(
            Arrival(
                request.headers["webhook-id"],
                data["processId"],
                data["status"],
                data["revision"],
                body.decode(),
            )
        )
        self._until_kill -= 1
        if not self._until_kill:
            self._kill()
        await asyncio.sleep(self._chance.uniform(0, SLOWEST))
        return web.Response(status=503 if self._chance.random() < TROUBLED else 200)


@asynccontextmanager
async def application(chance: Random) -> AsyncIterator[Application]:
    """Run an application."""
    made = Application(chance)
    app = web.Application()
    app.router.add_post("/events", made.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/events"
        yield made
    finally:
        await runner.cleanup()
