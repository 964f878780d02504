"""A running simulator, a client with a token for it, and a receiver of its callbacks."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpServer

from reconciler.simulator import SimProcess, Simulator, World

Ask = Callable[[SimProcess], Coroutine[Any, Any, tuple[int, Any]]]


@pytest.fixture
def world() -> World:
    return World(seed=7)


@pytest.fixture
async def simulator(world: World) -> AsyncIterator[Simulator]:
    simulator = Simulator(world, log=structlog.get_logger())
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
async def assure(simulator: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {simulator.tokens.issue()['access_token']}"}
    async with aiohttp.ClientSession(simulator.base_url, headers=headers) as session:
        yield session


@pytest.fixture
def fetch(assure: aiohttp.ClientSession) -> Ask:
    """Get process: the HTTP status and the body."""

    async def fetch(process: SimProcess) -> tuple[int, Any]:
        path = f"/assure/dossiers/{process.dossier_id}/processes/{process.process_id}"
        async with assure.get(path, allow_redirects=False) as response:
            return response.status, await response.json()

    return fetch


@pytest.fixture
def notify(assure: aiohttp.ClientSession) -> Ask:
    """Notify: the HTTP status and the body as text."""

    async def notify(process: SimProcess) -> tuple[int, Any]:
        path = f"/assure/dossiers/{process.dossier_id}/processes/{process.process_id}/notify"
        async with assure.post(path) as response:
            return response.status, await response.text()

    return notify


@pytest.fixture
async def received(simulator: Simulator, aiohttp_server: AiohttpServer) -> list[Any]:
    """The bodies of all callbacks that arrived so far; each was answered 200."""
    bodies: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return web.json_response({"received": True})

    app = web.Application()
    app.router.add_post("/callbacks/assure", take)
    server = await aiohttp_server(app)
    simulator.aim(str(server.make_url("/callbacks/assure")))
    return bodies
