"""A real store with an outbox, a real receiver, and a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from shutil import copy
from typing import Any, TypeVar

import orjson
import pytest
import structlog
from aiohttp import web

from reconciler.delivery.attempt import RetryPolicy
from reconciler.delivery.client import DeliveryClient, build_delivery_client
from reconciler.delivery.deliverer import Deliverer
from reconciler.ledger import Backoff, Callback, Policy, Registration, Rules
from reconciler.outbound.session import trusting
from reconciler.runtime.bell import Bell
from reconciler.runtime.current_value import Current
from reconciler.store.open import Store, open_store
from reconciler.store.outbox import Outbox
from tests.clock import PlayedClock

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOUR = 3_600_000
RULES = Rules(default=Policy(confirm_callbacks=False), deliver=True)

Kind = TypeVar("Kind", bound=Outbox)
Response = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Receiver:
    """The user's application: remembers what it got, answers what the test says."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], Any]] = []
        self.bodies: list[str] = []
        self.answer: Response = self._ok
        self.url = ""
        self.most_at_once = 0
        self._at_once = 0
        self._news = asyncio.Condition()

    async def _ok(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(text="thanks")

    def says(self, *statuses: int, headers: dict[str, str] | None = None) -> None:
        """Answer with these, one after the other; the last one for ever."""
        left = list(statuses)

        async def answer(_request: web.Request) -> web.StreamResponse:
            status = left.pop(0) if len(left) > 1 else left[0]
            return web.Response(status=status, headers=headers)

        self.answer = answer

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            body = await request.text()
            self.bodies.append(body)
            self.got.append((dict(request.headers), orjson.loads(body)))
            async with self._news:
                self._news.notify_all()
            return await self.answer(request)
        finally:
            self._at_once -= 1

    async def has(self, count: int) -> None:
        async with asyncio.timeout(30), self._news:
            await self._news.wait_for(lambda: len(self.got) >= count)

    def types(self, process_id: str) -> list[str]:
        return [b["type"] for _, b in self.got if b["data"]["processId"] == process_id]


@asynccontextmanager
async def running(deliverer: Deliverer) -> AsyncIterator[None]:
    task = asyncio.create_task(deliverer.run())
    try:
        yield
    finally:
        deliverer.stop()
        async with asyncio.timeout(30):
            await task


class Bench:
    """Store, receiver and deliverer, joined as a daemon has them."""

    def __init__(self, store: Store, receiver: Receiver) -> None:
        self.store = store
        self.receiver = receiver
        self.log: list[dict[str, Any]] = []
        self.logger = structlog.wrap_logger(structlog.ReturnLogger(), processors=[self._keep])
        self.news = Bell("news")
        self.clock = PlayedClock(runs=True)
        self.retry = RetryPolicy(Backoff(initial=5_000, max=6 * HOUR), 3 * 24 * HOUR)
        self.secrets: Sequence[str] = (SECRET,)
        self.headers: dict[str, str] = {}
        self.timeout = 15_000
        """Milliseconds."""
        self.slots = 8
        self._serial = 0

    def use(self, kind: type[Kind]) -> Kind:
        """Work with an outbox of another kind on the same store."""
        outbox = kind(self.store.database)
        self.store = replace(self.store, outbox=outbox)
        return outbox

    async def claim(self, process_id: str, status: str = "accepted", rules: Rules = RULES) -> None:
        """A callback arrives and is applied."""
        self._serial += 1
        now = self.clock.now()
        await self.store.work.record(
            [
                (
                    process_id,
                    Callback(f"r{self._serial:06}", process_id, f"d-{process_id}", status, now),
                )
            ],
            rules,
            now,
        )

    async def settle(self, *process_ids: str, rules: Rules = RULES) -> None:
        registrations = [Registration(key, f"d-{key}") for key in process_ids]
        await self.store.registry.register(registrations, rules, self.clock.wall, whole=True)
        for key in process_ids:
            await self.claim(key, rules=rules)

    def client(self) -> DeliveryClient:
        """Build a client, as the settings are now."""
        client = build_delivery_client(
            self.receiver.url,
            trusting(""),
            secrets=self.secrets,
            headers=self.headers,
            retry=self.retry,
            timeout=self.timeout,
            max_concurrency=self.slots,
            proxy="",
            clock=self.clock,
            log=self.logger,
        )
        self.breaker = client.breaker
        return client

    def deliverer(self, client: Current[DeliveryClient | None], owner: str = "me") -> Deliverer:
        self.news = Bell("news")
        return Deliverer(
            self.store.outbox,
            client,
            news=self.news,
            owner=owner,
            clock=self.clock,
            log=self.logger,
        )

    @asynccontextmanager
    async def delivering(
        self, client: DeliveryClient | None = None, owner: str = "me"
    ) -> AsyncIterator[Deliverer]:
        """Run a deliverer for the length of the block, and stop it at its end."""
        deliverer = self.deliverer(Current(client or self.client()), owner)
        async with running(deliverer):
            yield deliverer

    async def deliver_what_is_due(self) -> None:
        """Run a deliverer until nothing is due; then stop it."""
        async with self.delivering():
            await self.until(lambda rows: not any(self._is_due(row) for row in rows), ring=True)

    async def until(
        self, condition: Callable[[list[Any]], bool], *, ring: bool = False
    ) -> list[Any]:
        """Wait until ``condition`` is true of the rows; ``ring``: the bell, again and again."""
        async with asyncio.timeout(30):
            while not condition(rows := await self.rows()):
                if ring:
                    self.news.ring()
                await asyncio.sleep(0.01)
        return rows

    async def rows(self) -> list[Any]:
        rows, _ = await self.store.outbox.page(state=None, limit=1_000, cursor=None)
        return list(reversed(rows))

    def _is_due(self, row: Any) -> bool:
        return row.next_attempt_at is not None and row.next_attempt_at <= self.clock.wall

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.log if line["event"] == event]

    def _keep(self, _logger: Any, level: str, line: Any) -> str:
        self.log.append({**line, "level": level})
        return ""


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/events", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/events"
    yield made
    await runner.cleanup()


@pytest.fixture
async def bench(tmp_path: Path, empty_store: Path, receiver: Receiver) -> AsyncIterator[Bench]:
    path = copy(empty_store, tmp_path / "store.db")
    store = await open_store(f"sqlite:///{path}", is_daemon=True)
    yield Bench(store, receiver)
    await store.database.close()
