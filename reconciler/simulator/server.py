"""The simulator as a server: binds, lets time pass, sends due callbacks, stops."""

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from structlog.typing import FilteringBoundLogger

from reconciler.simulator.api import TOKEN_PATH, SimulatedApi
from reconciler.simulator.callbacks import CallbackSender
from reconciler.simulator.control import PREFIX, ControlApi
from reconciler.simulator.tokens import Tokens
from reconciler.simulator.world import World

DEMO_CLIENT_ID = "demo"
DEMO_CLIENT_SECRET = "demo-secret"  # noqa: S105 - published: it opens nothing but the simulator
MAX_CONTROL_BODY = 64 * 1024 * 1024


class Simulator:
    """A stand-in for the Assure API on a loopback address.

    `port` 0 takes any free port; after a stop, `start` binds the same one again. Callbacks go to
    `callback_url` ("": none are sent) with `authorization` ("": no header). A receiver has
    `callback_timeout` seconds. Tokens live `token_lifetime` seconds.

    ValueError: a host that is not loopback, a callback URL or Authorization value that cannot be
    sent.
    """

    def __init__(
        self,
        world: World,
        *,
        log: FilteringBoundLogger,
        host: str = "127.0.0.1",
        port: int = 0,
        callback_url: str = "",
        authorization: str = "",
        client_id: str = DEMO_CLIENT_ID,
        client_secret: str = DEMO_CLIENT_SECRET,
        token_lifetime: int = 3600,
        callback_timeout: float = 10.0,
    ) -> None:
        if not _is_loopback(host):
            raise ValueError(f"{host} is not a loopback address; the simulator stays on loopback")
        self._world = world
        self._log = log
        self._host = host
        self._port = port
        self.client_id = client_id
        self.client_secret = client_secret
        self.tokens = Tokens(client_id, client_secret, token_lifetime, world.clock)
        self._sender = CallbackSender(world, timeout=callback_timeout, log=log)
        self.aim(callback_url, authorization)
        self._runner: web.AppRunner | None = None
        self._api: SimulatedApi | None = None
        self._pump: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        """Such as `http://127.0.0.1:41234`; with port 0 known after the first start."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def token_url(self) -> str:
        """The URL of the token endpoint."""
        return self.base_url + TOKEN_PATH

    def aim(self, callback_url: str, authorization: str = "") -> None:
        """Send callbacks there from now on, for a receiver whose port is known late."""
        self._sender.aim(callback_url, authorization)

    async def start(self) -> None:
        """Serve. Raises OSError when the port is taken."""
        api = SimulatedApi(self._world, self.tokens, log=self._log)
        app = web.Application(
            middlewares=[_json_errors(api.record_other)], client_max_size=MAX_CONTROL_BODY
        )
        app.add_routes(api.routes())
        app.add_routes(ControlApi(self._world, self._sender).routes())
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._port = runner.addresses[0][1]
        self._runner, self._api = runner, api
        self._sender.open()
        self._pump = asyncio.create_task(self._let_time_pass())
        self._log.info("simulator_started", base_url=self.base_url)

    async def stop(self) -> None:
        """Close every connection. Planned callbacks stay planned; a second stop does nothing."""
        if self._runner is None or self._api is None or self._pump is None:
            return
        runner, self._runner = self._runner, None
        self._pump.cancel()
        self._api.stopping.set()
        await runner.cleanup()
        await self._sender.close()
        self._log.info("simulator_stopped")
        with contextlib.suppress(asyncio.CancelledError):
            await self._pump

    async def _let_time_pass(self) -> None:
        while True:
            self._world.wake.clear()
            for callback in self._world.due():
                self._sender.send(callback)
            next_at = self._world.next_at()
            waits: list[asyncio.Task[Any]] = [asyncio.create_task(self._world.wake.wait())]
            if next_at is not None:
                waits.append(asyncio.create_task(self._nap(next_at)))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    async def _nap(self, until: float) -> None:
        clock = self._world.clock
        await clock.sleep(until - clock.monotonic())


def _json_errors(record_other: Callable[[int], None]) -> Middleware:
    """Answer errors of the router as JSON; outside the control API they are recorded."""

    @web.middleware
    async def json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            if not request.path.startswith(PREFIX):
                record_other(error.status)
            code = error.reason.lower().replace(" ", "_")
            body = {"error": code, "detail": f"{request.method} {request.path}"}
            return web.json_response(body, status=error.status)

    return json_errors


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
