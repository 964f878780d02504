"""The room on a real store and a real socket; only the far side and the clock are played."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web
from sqlalchemy import text
from structlog.testing import CapturingLogger
from structlog.typing import FilteringBoundLogger

from reconciler.assure import Endpoint
from reconciler.inbound.applier import Applier
from reconciler.inbound.stored_receipts import StoredReceipts
from reconciler.ledger import (
    Backoff,
    Lane,
    Outcome,
    Policy,
    Registration,
    Rules,
    TimePassed,
    TrackedProcess,
)
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.outbound.session import trusting
from reconciler.reconcile.assure_connection import build_connection
from reconciler.reconcile.build import build_reconcile
from reconciler.reconcile.misconfiguration import CallbackPath
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.simulator import Simulator, World
from reconciler.simulator.server import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from reconciler.store.apply import Observed
from reconciler.store.database import Database
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store, open_store
from reconciler.store.work_queue import WorkQueue
from tests.clock import PlayedClock
from tests.configuration import in_force_with

PATIENCE = 30.0
"""Seconds after which a condition counts as never met."""
TIMEOUT = 5
"""Seconds that a call may take."""

_UNDER_WAY = text(
    "SELECT count(*) FROM processes WHERE lease_until IS NOT NULL"
    f" OR next_check_at <= :now OR (lane = {int(Lane.CATCH_UP)} AND next_check_at IS NOT NULL)"
)


class NotedQueue(WorkQueue):
    """The work queue, which notes what became of each result that was recorded."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.outcomes: list[Outcome] = []

    async def record(
        self, observed: Sequence[Observed], rules: Rules, now: int
    ) -> list[tuple[Observed, Outcome]]:
        changes = await super().record(observed, rules, now)
        self.outcomes += [
            outcome
            for (_, observation), outcome in changes
            if not isinstance(observation, TimePassed)
        ]
        return changes


class Instance:
    """The parts of this room that one daemon has, and the applier before them."""

    def __init__(
        self,
        play: "Play",
        store: Store,
        name: str,
        *,
        rate: float = 1000.0,
        max_concurrency: int = 16,
        real_time: bool = True,
        token_url: str = "",
        budget: Budget | None = None,
    ) -> None:
        """``real_time``: monotonic time runs by itself; only the wall time is played."""
        play.clock.runs = real_time
        clock = play.clock
        self.log: FilteringBoundLogger = structlog.wrap_logger(
            play.lines,
            processors=[self._tap],
            wrapper_class=structlog.make_filtering_bound_logger(0),
        )
        self.store = store
        self.work = NotedQueue(store.database)
        self.outcomes = self.work.outcomes
        self.budget = budget or Budget(rate, clock=clock)
        self.breaker = Breaker(clock=clock, log=self.log)
        self.callback_path = CallbackPath(self.log)
        self.due = Bell("due")
        self.current = Current(
            in_force_with(
                assure__timeout=f"{TIMEOUT}s", assure__max_concurrency=f"{max_concurrency}"
            )
        )
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
            timeout=TIMEOUT,
        )
        self.connection = build_connection(
            endpoint,
            trusting(""),
            max_concurrency=max_concurrency,
            budget=self.budget,
            breaker=self.breaker,
            clock=clock,
            log=self.log,
        )
        self.assure = Current(self.connection)
        parts = build_reconcile(
            self.work,
            store.outbox,
            self.assure,
            self.current,
            due=self.due,
            news=Bell("news"),
            budget=self.budget,
            breaker=self.breaker,
            owner=name,
            clock=clock,
            log=self.log,
        )
        self.recorder, self.sweeper, self.watch = parts.recorder, parts.sweeper, parts.overdue
        self.mender = parts.clock_mender
        self.stored = StoredReceipts(clock)
        self.applier = Applier(
            store.inbox,
            self.stored,
            self.current,
            due=self.due,
            news=Bell("news"),
            clock=clock,
            log=self.log,
        )
        self.set_rules(play.rules)
        self.sweeping = asyncio.create_task(self.sweeper.run())
        self.recording = asyncio.create_task(self.recorder.run())
        self.applying = asyncio.create_task(self.applier.run())

    async def look(self) -> bool:
        """Do a piece of what each tick of the sweep does; True where there is more."""
        return await self.mender.tick() or await self.watch.tick()

    def set_rules(self, rules: Rules) -> None:
        self.current.value = replace(self.current.value, rules=rules)

    def probes_in(self, seconds: float) -> bool:
        """Tell whether the breaker is open and would let a probe go in so many seconds."""
        return self.breaker.state == "open" and self.breaker.seconds_to_probe() == seconds

    async def after_downtime(self, last_alive_at: int | None, **about: int) -> None:
        """Have all that was waiting looked at once, as a daemon does when it starts."""
        while await self.watch.after_downtime(last_alive_at, **about):
            pass
        assert self.watch.has_caught_up

    async def have_token(self) -> None:
        """Have a token before anything is due."""
        assert await self.connection.caller.ensure_token()

    async def stop(self) -> None:
        self.applier.stop()
        self.sweeper.stop()
        await asyncio.wait({self.sweeping, self.applying})
        self.recorder.stop()
        await asyncio.wait({self.recording})
        await self.connection.session.close()

    async def kill(self) -> None:
        """End it as a crash would: nothing more is called or recorded."""
        for task in (self.sweeping, self.recording, self.applying):
            task.cancel()
        await asyncio.wait({self.sweeping, self.recording, self.applying})
        await self.connection.session.close()

    def _tap(self, _logger: object, level: str, line: MutableMapping[str, Any]) -> Any:
        self.callback_path.note(level, line["event"], line)
        return line


class _Held(Clock):
    """The clock of the far side, on which a sleep lasts until the gate is open."""

    def __init__(self, clock: PlayedClock, gate: asyncio.Event) -> None:
        self._clock = clock
        self._gate = gate

    def now(self) -> int:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, _seconds: float) -> None:
        await self._gate.wait()


class Play:
    """The far side, the store, the clocks, and what the tests do and see."""

    def __init__(self, path: Path) -> None:
        """``path``: an empty store."""
        self.clock = PlayedClock()
        self._gate = asyncio.Event()
        self.world = World(seed=7, clock=_Held(self.clock, self._gate))
        self.lines = CapturingLogger()
        self.log: FilteringBoundLogger = structlog.wrap_logger(
            self.lines, processors=[], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        self.rules = Rules(default=Policy(backoff=Backoff(jitter=0.0)))
        self.simulator = Simulator(self.world, log=self.log)
        self.instances: list[Instance] = []
        self.store: Store
        self.path = path
        self._stores: list[Store] = []
        self._receipts = count(1)

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

    def set_rules(self, rules: Rules) -> None:
        self.rules = rules
        for instance in self.instances:
            instance.set_rules(rules)

    def set_policy(self, **changes: Any) -> None:
        self.set_rules(replace(self.rules, default=replace(self.rules.default, **changes)))

    def hold(self) -> None:
        """Keep back the answers of Assure until ``let_go``."""
        self.world.faults.latency = 1.0
        self._gate.clear()

    def let_go(self) -> None:
        self.world.faults.latency = 0.0
        self._gate.set()

    # Events

    async def tick(self, later: int = 0) -> None:
        """Let ``later`` ms pass, and tick."""
        self.clock.wall += later
        for instance in self.instances:
            while not instance.sweeping.done() and await instance.look():
                pass

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
        self.instances[0].log.info("callback_received", process_id=receipt.process_id)
        self.instances[0].stored.put([receipt])
        return receipt

    async def listen(self, request: web.Request) -> web.Response:
        await self.deliver(await request.json())
        return web.json_response({"received": True})

    # Observations

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
