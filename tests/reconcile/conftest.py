"""The whole room on a real store and a real socket; only the far side and the clocks are played."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import count
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
import structlog
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from sqlalchemy import text
from structlog.testing import CapturingLogger
from structlog.typing import FilteringBoundLogger

from reconciler.assure import AssureClient, Endpoint
from reconciler.inbound.applier import Applier
from reconciler.ledger import Backoff, Lane, Outcome, Policy, Registration, Rules, TrackedProcess
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.outbound.session import build_session, trusting
from reconciler.reconcile.caller import Caller
from reconciler.reconcile.misconfiguration import AssurePath, CallbackPath
from reconciler.reconcile.overdue import OverdueChecker
from reconciler.reconcile.recorder import Recorder
from reconciler.reconcile.sweeper import Sweeper
from reconciler.simulator import Simulator, World
from reconciler.simulator.server import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store, open_store, prepare
from tests.clock import PlayedClock

PATIENCE = 30.0
"""Seconds after which a condition counts as never met."""
LEASE = 20_000
"""Four times the timeout of a call, in ms."""

_UNDER_WAY = text(
    "SELECT count(*) FROM processes WHERE lease_until IS NOT NULL"
    f" OR next_check_at <= :now OR (lane = {int(Lane.CATCH_UP)} AND next_check_at IS NOT NULL)"
)


class Instance:
    """What one daemon has of this room, joined as daemon/service.py does it."""

    def __init__(
        self,
        play: "Play",
        store: Store,
        name: str,
        *,
        rate: float = 1000.0,
        max_concurrency: int = 16,
        timeout: float = 5.0,
        real_time: bool = True,
        token_url: str = "",
        budget: Budget | None = None,
    ) -> None:
        """``real_time``: monotonic time runs by itself; only the wall time is played."""
        play.clock.runs = real_time
        clock, log = play.clock, play.log
        self.store = store
        self.outcomes: list[Outcome] = []
        self.budget = budget or Budget(rate, clock=clock)
        self.breaker = Breaker(clock=clock, log=log)
        self.callback_path = CallbackPath(log)
        self.assure_path = AssurePath(is_proven=False, clock=clock, log=log)
        simulator = play.simulator
        endpoint = Endpoint(
            base_url=simulator.base_url,
            token_url=token_url or simulator.token_url,
            client_id=DEMO_CLIENT_ID,
            client_secret=DEMO_CLIENT_SECRET,
            scope="signicat-api",
            process_path="/assure/dossiers/{dossierId}/processes/{processId}",
            notify_path="/assure/dossiers/{dossierId}/processes/{processId}/notify",
            notify_method="POST",
            timeout=timeout,
        )
        self._session: ClientSession = build_session(trusting(""), max_concurrency)
        self.client = AssureClient(endpoint, self._session, self.budget, clock, log)
        caller = Caller(
            self.client, breaker=self.breaker, budget=self.budget, path=self.assure_path, log=log
        )
        self.recorder = Recorder(
            store.work, rules=play.get_rules, clock=clock, on_recorded=self._recorded, log=log
        )
        self.sweeper = Sweeper(
            store.work,
            caller,
            self.recorder,
            budget=self.budget,
            breaker=self.breaker,
            owner=name,
            max_concurrency=max_concurrency,
            lease_length=LEASE,
            rules=play.get_rules,
            clock=clock,
            log=log,
        )
        self.watch = OverdueChecker(
            store.work, rules=play.get_rules, clock=clock, on_due=self.sweeper.wake, log=log
        )
        self.applier = Applier(
            store.inbox,
            rules=play.get_rules,
            now=clock.now,
            on_applied=self.sweeper.wake,
            log=log,
        )
        self.sweeping = asyncio.create_task(self.sweeper.run())
        self.recording = asyncio.create_task(self.recorder.run())
        self.applying = asyncio.create_task(self.applier.run())

    def probes_in(self, seconds: float) -> bool:
        """Tell whether the breaker is open and would let a probe go in so many seconds."""
        return self.breaker.state == "open" and self.breaker.seconds_to_probe() == seconds

    def received(self, receipts: Sequence[Receipt]) -> None:
        self.callback_path.came()
        self.applier.submit(receipts)

    async def stop(self) -> None:
        self.applier.stop()
        self.sweeper.stop()
        await asyncio.wait({self.sweeping, self.applying})
        self.recorder.stop()
        await asyncio.wait({self.recording})
        await self._session.close()

    async def kill(self) -> None:
        """End it as a crash would: nothing more is called or recorded."""
        for task in (self.sweeping, self.recording, self.applying):
            task.cancel()
        await asyncio.wait({self.sweeping, self.recording, self.applying})
        await self._session.close()

    def _recorded(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes += outcomes
        self.callback_path.recorded(outcomes)
        self.sweeper.wake()


class Play:
    """The far side, the store, the clocks, and what the tests do and see."""

    def __init__(self, path: Path) -> None:
        """``path``: an empty store."""
        self.clock = PlayedClock()
        self.world = World(seed=7, now=self.clock.now, monotonic=self.clock.monotonic)
        self.lines = CapturingLogger()
        self.log: FilteringBoundLogger = structlog.wrap_logger(
            self.lines, processors=[], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        self.rules = Rules(default=Policy(backoff=Backoff(jitter=0.0)))
        self.simulator = Simulator(self.world, log=self.log, sleep=self._hold)
        self.instances: list[Instance] = []
        self.store: Store
        self.path = path
        self._stores: list[Store] = []
        self._receipts = count(1)
        self._gate = asyncio.Event()

    # Setting the scene

    async def open(self) -> None:
        self.store = await self._open(is_daemon=True)
        await self.simulator.start()

    async def close(self) -> None:
        self._gate.set()
        for instance in self.instances:
            await instance.stop()
        await self.simulator.stop()
        for store in self._stores:
            await store.database.close()

    async def daemon(self, name: str = "one", **limits: Any) -> Instance:
        """Start the room; a second one gets connections of its own, as another daemon has."""
        store = await self._open(is_daemon=False) if self.instances else self.store
        instance = Instance(self, store, name, **limits)
        self.instances.append(instance)
        return instance

    async def register(self, process_id: str = "p1", **wanted: Any) -> str:
        """Start a process at Assure and put it on the ledger."""
        return (await self.register_many([process_id], **wanted))[0]

    async def register_many(self, process_ids: Sequence[str], **wanted: Any) -> list[str]:
        now = self.clock.now()
        registrations = []
        for process_id in process_ids:
            process = self.world.add(process_id=process_id, dossier_id="d", **wanted)
            registrations.append(
                Registration(process_id, "d", provider=process.provider, created_at=now)
            )
        await self.store.registry.register(registrations, self.rules, now, whole=True)
        return list(process_ids)

    def set_policy(self, **changes: Any) -> None:
        self.rules = replace(self.rules, default=replace(self.rules.default, **changes))

    def get_rules(self) -> Rules:
        return self.rules

    def hold(self) -> None:
        """Keep back the answers of Assure until ``let_go``."""
        self.world.faults.latency = 1.0
        self._gate.clear()

    def let_go(self) -> None:
        self.world.faults.latency = 0.0
        self._gate.set()

    # What happens

    async def tick(self, later: int = 0) -> None:
        """Let ``later`` ms pass, and tick."""
        self.clock.wall += later
        for instance in self.instances:
            if not instance.sweeping.done():
                await instance.watch.tick()

    async def rest(self, later: int = 0) -> None:
        """Let ``later`` ms pass, tick, and wait until everything that is due is done."""
        await self.tick(later)
        await self.until(self._is_at_rest)

    async def callback(self, process_id: str, status: str) -> None:
        """Let a callback arrive and be applied."""
        receipt = await self.deliver({"dossierId": "d", "processId": process_id, "status": status})

        async def is_applied() -> bool:
            return (await self.process(process_id)).last_receipt == receipt.receipt_id

        await self.until(is_applied)

    async def deliver(self, body: dict[str, str]) -> Receipt:
        receipt = Receipt(
            receipt_id=f"receipt-{next(self._receipts)}",
            received_at=self.clock.now(),
            process_id=body["processId"],
            dossier_id=body["dossierId"],
            status=body["status"],
            extra=(),
            body_sha256=sha256(b"").digest(),
        )
        await self.store.inbox.put_many([receipt])
        self.instances[0].received([receipt])
        return receipt

    async def listen(self, request: web.Request) -> web.Response:
        await self.deliver(await request.json())
        return web.json_response({"received": True})

    # What is seen

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until ``condition``, a function or coroutine function, is true."""
        async with asyncio.timeout(PATIENCE):
            while True:
                met = condition()
                if await met if isinstance(met, Awaitable) else met:
                    return
                await asyncio.sleep(0.005)

    async def process(self, process_id: str = "p1") -> TrackedProcess:
        process = await self.store.views.process(process_id)
        assert process is not None
        return process

    async def history(self, process_id: str = "p1") -> list[str]:
        return [entry.event for entry in await self.store.views.timeline(process_id)]

    def calls(self, process_id: str | None = None) -> list[str]:
        """The API calls in the order of their arrival, such as ``notify`` or ``fetch``."""
        return [
            call.kind
            for call in self.world.calls
            if call.kind in ("fetch", "notify")
            and (process_id is None or call.process_id == process_id)
        ]

    def called(self) -> list[str]:
        """The processes that the API calls were about, in the order of their arrival."""
        return [c.process_id or "" for c in self.world.calls if c.kind in ("fetch", "notify")]

    def arrivals(self) -> list[float]:
        """When the API calls arrived, in seconds."""
        return [call.at for call in self.world.calls if call.kind in ("fetch", "notify")]

    async def until_calls(self, number: int) -> None:
        """Wait until so many API calls have arrived."""
        await self.until(lambda: len(self.calls()) >= number)

    def tokens(self) -> int:
        return sum(call.kind == "token" for call in self.world.calls)

    async def until_tokens(self, number: int) -> None:
        """Wait until so many tokens have been asked for."""
        await self.until(lambda: self.tokens() >= number)

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line.kwargs for line in self.lines.calls if line.kwargs["event"] == event]

    # Inside

    async def _open(self, *, is_daemon: bool) -> Store:
        store = await open_store(f"sqlite:///{self.path}", is_daemon=is_daemon)
        self._stores.append(store)
        return store

    async def _is_at_rest(self) -> bool:
        async with self.store.database.read() as connection:
            found = await connection.execute(_UNDER_WAY, {"now": self.clock.now()})
            return not found.scalar_one()

    async def _hold(self, _seconds: float) -> None:
        await self._gate.wait()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrated once, and copied for each test."""
    path = tmp_path_factory.mktemp("empty") / "store.db"
    prepare(f"sqlite:///{path}", may_create=True, may_migrate=True)
    return path


@pytest.fixture
async def play(tmp_path: Path, empty_store: Path) -> AsyncIterator[Play]:
    play = Play(tmp_path / "store.db")
    copy(empty_store, play.path)
    await play.open()
    app = web.Application()
    app.router.add_post("/callbacks/assure", play.listen)
    async with TestServer(app) as server:
        play.simulator.aim(str(server.make_url("/callbacks/assure")))
        yield play
        await play.close()


@pytest.fixture
async def one(play: Play) -> Instance:
    """A daemon that is up and has nothing to do."""
    return await play.daemon()
