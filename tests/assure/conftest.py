"""A stand-in Assure on a real socket, and a client for it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import orjson
import pytest
import structlog
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from structlog.testing import CapturingLogger

from reconciler.assure import AssureClient, Endpoint
from reconciler.outbound.budget import Budget
from reconciler.outbound.session import build_session, trusting
from reconciler.runtime.clock import Clock
from tests.clock import PlayedClock

PROCESS = {
    "provider": "onfido",
    "status": "accepted",
    "processType": "idDocument",
    "createdAt": "2019-09-19T22:10:56Z",
    "updatedAt": "2019-09-19T22:10:56.789",
    "finalResult": {"firstName": "canary-body"},
}


@dataclass
class FakeAssure:
    """Gives out token-1, token-2, … and answers as told."""

    token_status: int = 200
    token_answer: dict[str, object] = field(default_factory=dict)
    token_body: bytes | None = None
    token_headers: dict[str, str] = field(default_factory=dict)
    token_asked: asyncio.Event = field(default_factory=asyncio.Event)
    token_may_leave: asyncio.Event = field(default_factory=asyncio.Event)
    accepted_from: int = 1
    """The first token that is not answered 401."""
    status: int = 200
    body: bytes = orjson.dumps(PROCESS)
    headers: dict[str, str] = field(default_factory=dict)
    token_requests: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)

    def app(self) -> web.Application:
        self.token_may_leave.set()
        app = web.Application()
        app.router.add_post("/token", self.token)
        app.router.add_route("*", "/{path:.*}", self.call)
        return app

    async def token(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        self.token_requests.append((request.headers["Authorization"], {**form}))
        number = len(self.token_requests)
        self.token_asked.set()
        await self.token_may_leave.wait()
        if self.token_body is not None:
            return web.Response(status=self.token_status, body=self.token_body)
        answer = {"access_token": f"token-{number}", "expires_in": 1000, **self.token_answer}
        return web.json_response(answer, status=self.token_status, headers=self.token_headers)

    async def call(self, request: web.Request) -> web.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.calls.append((request.method, request.raw_path, token))
        self.seen = dict(request.headers)
        if int(token.removeprefix("token-")) < self.accepted_from:
            return web.Response(status=401, text="canary-body")
        return web.Response(status=self.status, body=self.body, headers=self.headers)


@dataclass
class Room:
    """The client with all that stands around it."""

    assure: FakeAssure
    endpoint: Endpoint
    session: ClientSession
    budget: Budget
    clock: PlayedClock
    lines: CapturingLogger

    def client(self, session: ClientSession | None = None, **changes: object) -> AssureClient:
        log = structlog.wrap_logger(
            self.lines, processors=[], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        endpoint: Endpoint = replace(self.endpoint, **changes)  # type: ignore[arg-type]  # by name
        return AssureClient(endpoint, session or self.session, self.budget, self.clock, log)


def endpoint_at(base: str) -> Endpoint:
    """Return an Assure that is reached below ``base``."""
    return Endpoint(
        base_url=base,
        token_url=f"{base}/token",
        client_id="me",
        client_secret="canary-client-secret",
        scope="signicat-api",
        process_path="/assure/dossiers/{dossierId}/processes/{processId}",
        notify_path="/assure/dossiers/{dossierId}/processes/{processId}/notify",
        notify_method="POST",
        timeout=5.0,
    )


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    assure = FakeAssure()
    async with TestServer(assure.app()) as server:
        base = str(server.make_url("")).rstrip("/")
        endpoint = endpoint_at(base)
        async with build_session(trusting(""), 16) as session:
            budget = Budget(1000, clock=Clock())
            yield Room(assure, endpoint, session, budget, PlayedClock(), CapturingLogger())
