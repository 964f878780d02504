"""The user's application: it takes deliveries, and remembers each in the order of arrival."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, NamedTuple

import orjson
from aiohttp import web
from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

TROUBLED = 0.05
"""The share of deliveries that it takes and answers 503 even so."""


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

    def environ(self) -> dict[str, str]:
        """Return the variables that point a daemon at it."""
        return {
            "RECONCILER_DELIVERY__URL": self.url,
            "RECONCILER_DELIVERY__SECRET": SECRET,
            "RECONCILER_DELIVERY__TIMEOUT": "500ms",
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
