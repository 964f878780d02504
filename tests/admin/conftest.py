"""A real admin server on a real SQLite file; each answer is held to the OpenAPI document."""

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema_rs
import pytest
import structlog
from structlog.testing import LogCapture
from yarl import URL

from reconciler.admin.build import build_admin, document
from reconciler.admin.health import Health, Readiness
from reconciler.admin.server import AdminServer
from reconciler.config import Secrets, in_force, load
from reconciler.runtime.bell import Bell
from reconciler.runtime.current_value import Current
from reconciler.store.instances import Instance
from reconciler.store.open import Store, open_store
from reconciler.telemetry.metrics import Metrics
from tests.clock import PlayedClock

DOCUMENT = document()
START = 1_772_323_200_000
"""2026-03-01T00:00:00Z in milliseconds."""


class Played:
    """The other parts of a daemon, as the admin listener sees them."""

    def __init__(self) -> None:
        self.clock = PlayedClock(START)
        self.stale_jobs: list[str] = []
        self.readiness = Readiness(True)
        self.checks = 0
        self.due = Bell("due")
        self.news = Bell("news")
        self.log = LogCapture()
        self.dropped = 0
        self.rejected: Counter[str] = Counter()
        self.handshakes_failed: Counter[str] = Counter()
        self.is_full = False
        self.metrics = Metrics()
        self.breaker = "closed"
        self.spooled = 0
        self.last_sweep_at: int | None = None

    @property
    def now(self) -> int:
        return self.clock.now()

    def instance(self) -> Instance:
        return Instance(
            instance_id="this-one",
            host="here",
            pid=1,
            version="1.2.3",
            started_at=START - 90_000,
            heartbeat_at=self.now,
            last_sweep_at=self.last_sweep_at,
            breaker=self.breaker,
            spooled=self.spooled,
        )

    def stale(self) -> list[str]:
        return self.stale_jobs

    async def check(self) -> Readiness:
        self.checks += 1
        await asyncio.sleep(0)
        return self.readiness

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [dict(entry) for entry in self.log.entries if entry["event"] == event]


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: Any


class Client:
    """Speaks to the server; an answer that the OpenAPI document does not describe is a failure."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def __call__(self, method: str, path: str, **request: Any) -> Answer:
        answer = await self.raw(method, path, **request)
        described = described_schema(method, path.partition("?")[0], answer.status)
        if described is not None:
            jsonschema_rs.validate(
                {**DOCUMENT, "$ref": described}, answer.body, validate_formats=True
            )
        return answer

    async def raw(self, method: str, path: str, **request: Any) -> Answer:
        """The same without the document. ``path`` is sent as it is written."""
        url = URL(self.url + path, encoded=True)
        async with self.session.request(method, url, **request) as response:
            if response.status == 204:
                assert await response.read() == b""
                return Answer(204, None, response.headers)
            assert response.content_type == "application/json"
            body = await response.json()
            if response.status >= 400 and "error" in body:
                assert body.keys() == {"error", "detail"}
            return Answer(response.status, body, response.headers)

    async def register(self, *processes: Any) -> Answer:
        return await self("POST", "/v1/processes", json=list(processes))

    async def get(self, path: str) -> Answer:
        return await self("GET", path)


def described_schema(method: str, path: str, status: int) -> str | None:
    """The place of the schema in the document; None when the answer is described as empty."""
    templates = {tuple(template.split("/")): template for template in DOCUMENT["paths"]}
    parts = path.split("/")
    matching = [
        template
        for words, template in templates.items()
        if len(words) == len(parts)
        and all(word == part or "{" in word for word, part in zip(words, parts, strict=True))
    ]
    assert matching, f"{path} is not in the document"
    responses = DOCUMENT["paths"][matching[0]][method.lower()]["responses"]
    assert str(status) in responses, f"{method} {path}: {status} is not in the document"
    if "content" not in responses[str(status)]:
        return None
    place = matching[0].replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
    response = f"#/paths/{place}/{method.lower()}/responses/{status}"
    return f"{response}/content/application~1json/schema"


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.fixture
def store_path(tmp_path: Path, empty_store: Path) -> Path:
    return Path(shutil.copy(empty_store, tmp_path / "ledger.db"))


@pytest.fixture
async def store(store_path: Path) -> AsyncIterator[Store]:
    store = await open_store(f"sqlite:///{store_path}", is_daemon=True)
    yield store
    await store.database.close()


@pytest.fixture
def health(played: Played) -> Health:
    return Health(played, played, played.clock)


Build = Callable[..., AdminServer]


def build_server(
    store: Store,
    store_path: Path,
    played: Played,
    *,
    listen: str = "127.0.0.1:0",
    token: str | None = None,
    hosts: Sequence[str] = (),
) -> AdminServer:
    """Make a server, with another address or a token if they are named."""
    named = json.dumps([*hosts])
    settings = load(None, {"RECONCILER_ADMIN__LISTEN": listen, "RECONCILER_ADMIN__HOSTS": named})
    secrets = Secrets(store_url=f"sqlite:///{store_path}", admin_token=token)
    server = build_admin(
        Current(in_force(settings, secrets)),
        store,
        own=played,
        jobs=played,
        check=played,
        metrics=played.metrics,
        listener=played,
        disks={"store": store_path.parent, "spool": store_path.parent / "spool"},
        due=played.due,
        news=played.news,
        clock=played.clock,
        logs=played,
        log=structlog.wrap_logger(None, processors=[played.log]),
    )
    assert server is not None
    return server


@pytest.fixture
def build(store: Store, store_path: Path, played: Played) -> Build:
    return partial(build_server, store, store_path, played)


Serve = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def serve(build: Build) -> Serve:
    """Start a server, with a token or a unix socket if they are named."""

    @asynccontextmanager
    async def serve_it(
        *,
        host: str = "127.0.0.1",
        token: str | None = None,
        unix: Path | None = None,
        hosts: Sequence[str] = (),
    ) -> AsyncIterator[Client]:
        listen = f"unix:{unix}" if unix else f"{host}:0"
        server = build(listen=listen, token=token, hosts=hosts)
        await server.start()
        connector = aiohttp.UnixConnector(str(unix)) if unix else None
        try:
            async with aiohttp.ClientSession(connector=connector) as session:
                yield Client(session, "http://localhost" if unix else server.url)
        finally:
            await server.stop()

    return serve_it


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[Client]:
    async with serve() as client:
        yield client


Reject = Callable[[Any], Awaitable[str]]


@pytest.fixture
def rejected(client: Client) -> Reject:
    """Register a body that is not accepted, and return the reason given."""

    async def register(body: Any) -> str:
        answer = await client("POST", "/v1/processes", json=body)
        assert (answer.status, answer.body["error"]) == (400, "bad_registration")
        return str(answer.body["detail"])

    return register
