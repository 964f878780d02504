"""Assure and the application, with faults that come and go in cycles."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import orjson
import structlog
from aiohttp import web
from standardwebhooks import Webhook

from reconciler.simulator import Simulator, World

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

ASSURE_DOWN = (0.50, 0.58)
APPLICATION_DOWN = (0.64, 0.72)
ASSURE_SLOW = (0.76, 0.80)
"""Parts of a cycle. In the last fifth there are only the small faults, so that work can be done."""

SLOW = 0.5
"""Seconds that each answer of a slow Assure takes."""

SERVER_ERROR, HANG, REFUSED = 0.01, 0.0005, 0.005
"""Small faults, always there: shares of calls to Assure, and of deliveries."""

_LOOK = 0.2
"""Seconds between two looks at the clock."""


class Application:
    """Takes deliveries."""

    def __init__(self) -> None:
        self.url = ""
        self.is_down = False
        self.refuses = REFUSED
        self.deliveries = 0
        self.told: list[tuple[str, str | None]] = []
        """The process and the status of each, since somebody took the list."""
        self._chance = Random(5)
        self._webhook = Webhook(SECRET)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self._webhook.verify(body, dict(request.headers))
        if self.is_down or self._chance.random() < self.refuses:
            return web.Response(status=503)
        data = orjson.loads(body)["data"]
        self.deliveries += 1
        self.told.append((data["processId"], data["status"]))
        return web.Response()


class FarSide:
    """All that a daemon talks to."""

    def __init__(self, world: World, simulator: Simulator, application: Application) -> None:
        self.world = world
        self.simulator = simulator
        self.application = application

    async def make_trouble(self, cycle: float) -> None:
        """Let faults come and go in cycles of so many seconds, for ever."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        faults = self.world.faults
        faults.server_error, faults.hang = SERVER_ERROR, HANG
        while True:
            part = (loop.time() - begun) % cycle / cycle
            faults.down = _is_within(part, ASSURE_DOWN)
            faults.latency = SLOW if _is_within(part, ASSURE_SLOW) else 0.0
            self.application.is_down = _is_within(part, APPLICATION_DOWN)
            await asyncio.sleep(_LOOK)

    def calm(self) -> None:
        """End all faults."""
        faults = self.world.faults
        faults.server_error = faults.hang = faults.latency = 0.0
        faults.down = self.application.is_down = False
        self.application.refuses = 0.0

    def forget(self, process_id: str) -> None:
        """Forget a process that has come to its end, so that our own memory stays flat."""
        self.world.processes.pop(process_id, None)
        self.world.log.max_in_flight.pop(process_id, None)


def _is_within(part: float, span: tuple[float, float]) -> bool:
    return span[0] <= part < span[1]


@asynccontextmanager
async def far_side() -> AsyncIterator[FarSide]:
    """Run both on loopback."""
    world = World(seed=5)
    log = structlog.wrap_logger(structlog.ReturnLogger(), processors=[lambda *_: ""])
    simulator = Simulator(world, log=log)
    application = Application()
    app = web.Application()
    app.router.add_post("/events", application.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await simulator.start()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        application.url = f"http://127.0.0.1:{runner.addresses[0][1]}/events"
        yield FarSide(world, simulator, application)
    finally:
        await simulator.stop()
        await runner.cleanup()
