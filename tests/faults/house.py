"""A whole daemon in this process, wired by its own factories, on a clock that the test moves."""

import asyncio
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from reconciler.config import Configuration, load, resolve_secrets, rules
from reconciler.daemon.build import build_service
from reconciler.daemon.certificates import load_certificates
from reconciler.ledger import Registration, TrackedProcess
from reconciler.store.maintenance.check import StoreCheck, damage
from reconciler.store.open import Store, open_store
from reconciler.store.outbox import OutboxRow
from reconciler.telemetry.logging import LogSystem
from tests.clock import PlayedClock
from tests.faults.far_side import FarSide, Request, answer
from tests.faults.faults import APPLICATION, ASSURE, TOKEN

PATIENCE = 60.0
"""Seconds after which a condition counts as never met."""

AUTHORIZATION = {"Authorization": "Bearer for-the-faults"}
DAY = 86_400
MINUTE = 60

CONFIG = """\
[listener]
port = 0
authorization = ["Bearer for-the-faults"]
[admin]
listen = ""
[assure]
base_url = "{assure}"
token_url = "{token}/token"
client_id = "faults"
client_secret = "faults-secret"
timeout = "400ms"
requests_per_second = 500
ca_file = "{ca_file}"
[reconcile]
sweep_interval = "1h"
ladder = ["fetch"]
[store]
url = "sqlite:///{directory}/store.db"
spool = "{directory}/spool"
[delivery]
url = "{application}/events"
timeout = "400ms"
ca_file = "{ca_file}"
"""
_CALLS = {"fetch": ASSURE, "notify": ASSURE, "token": TOKEN}


class House:
    """The daemon between its three far sides; where there is a ``ca_file`` they speak TLS."""

    def __init__(
        self, directory: Path, far: Mapping[str, FarSide], clock: PlayedClock, *, ca_file: str = ""
    ) -> None:
        """``far``: open already. ``directory`` has a prepared ``store.db``."""
        scheme = "https" if ca_file else "http"
        urls = {
            name: f"{scheme}://localhost:{side.port}"
            for name, side in zip(("assure", "token", "application"), far.values(), strict=True)
        }
        self.directory = directory
        self.store_file = directory / "store.db"
        self.far = far
        self.clock = clock
        self.lines: list[tuple[str, dict[str, Any]]] = []
        """Each line of the log, of every level, as its event and fields."""
        self._config = directory / "reconciler.toml"
        self._config.write_text(CONFIG.format(directory=directory, ca_file=ca_file, **urls))
        self._processes = 0
        self._is_running = False

    async def start(self) -> None:
        settings = load(self._config, {})
        secrets = resolve_secrets(settings, {})
        certificates, findings = load_certificates(settings)
        assert not findings.problems
        self._null = Path("/dev/null").open("wb")  # noqa: ASYNC230, SIM115 (closed in ``stop``)
        self._logs = LogSystem(level="error", format="json", stream=self._null)
        self._logs.tap(self._note)
        self._store = await open_store(secrets.store_url, is_daemon=True)
        service = build_service(
            Configuration(settings, secrets, {}),
            certificates,
            self._store,
            self._logs,
            clock=self.clock,
        )
        self._stop = asyncio.Event()
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE))
        self._rules = rules(settings)
        self._sweep = next(job for job in service.built.first_jobs if job.name == "sweep")
        self._sweeper = service.built.reconcile.sweeper
        self._running = asyncio.create_task(service.run(self._stop))
        self._is_running = True
        await self.until(service.is_ready.is_set)
        self.listener = service.listener_url

    async def stop(self) -> None:
        """Stop the daemon, if it runs."""
        if not self._is_running:
            return
        self._is_running = False
        self._stop.set()
        await self._client.close()
        survived = await self._running
        await self._store.database.close()
        await asyncio.to_thread(self._logs.close, timeout=1.0)
        self._null.close()
        assert survived
        assert self.told("part_failed") == self.told("part_restarted") == []

    @property
    def store(self) -> Store:
        return self._store

    # The daemon's users

    async def register(self, count: int = 6) -> list[str]:
        """Put processes on the ledger whose callbacks never come."""
        ids = [f"p{self._processes + number:02}" for number in range(count)]
        self._processes += count
        registrations = [Registration(process_id, "d") for process_id in ids]
        now = self.clock.now()
        await self._store.registry.register(registrations, self._rules, now, whole=True)
        return ids

    async def call_back(self, process_id: str) -> int:
        """Post a callback and return the status of its answer."""
        body = {"dossierId": "d", "processId": process_id, "status": "accepted"}
        async with self._client.post(
            f"{self.listener}/callbacks/assure", json=body, headers=AUTHORIZATION
        ) as response:
            return response.status

    async def processes(self) -> dict[str, TrackedProcess]:
        found, _ = await self._store.views.page(state=None, limit=1000, cursor=None)
        return {process.process_id: process for process in found}

    async def deliveries(self) -> list[OutboxRow]:
        return (await self._store.outbox.page(state=None, limit=1000, cursor=None))[0]

    async def findings(self) -> list[Any]:
        """Everything that ``check-db`` has to say."""
        found = [*damage(self.store_file)]
        async for page in StoreCheck(self._store.database).pages():
            found += page
        return found

    # Time

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` is true, without time passing."""
        waited_until = asyncio.get_running_loop().time() + PATIENCE
        while not condition():
            assert asyncio.get_running_loop().time() < waited_until, self.lines[-20:]
            assert not self._running.done(), "the daemon has ended"
            await asyncio.sleep(0.005)

    async def look(self) -> None:
        """Have the daemon look at what is due now, and wait until no call or delivery is out."""
        for _ in range(2):  # its second look begins when the first has ended
            self.clock.move(0.001)  # by which the look is known
            self._sweep.bell.ring()
            await self.until(lambda: self._sweeper.last_sweep_at == self.clock.now())
        async with asyncio.timeout(PATIENCE):
            while await self._is_calling():
                await asyncio.sleep(0.01)

    async def minutes(self, *counts: int) -> None:
        """Let minutes pass, and have the daemon look after each of ``counts``."""
        for count in counts:
            self.clock.move(count * MINUTE)
            await self.look()

    async def ends(self) -> dict[str, TrackedProcess]:
        """Let up to two hours pass until all processes have ended and are delivered."""
        waits = iter((0, 0, 1, 2, 4, 8, 15, 30, 60))
        async with asyncio.timeout(PATIENCE):
            while True:
                self.clock.move(next(waits, 0) * MINUTE)
                await self.look()
                processes = await self.processes()
                have_ended = all(process.ended_at for process in processes.values())
                if have_ended and {row.state for row in await self.deliveries()} == {"delivered"}:
                    return processes

    async def ends_well(self, application: "WellApplication") -> None:
        """Let time pass until all has ended, as a day without any fault would have ended."""
        ended = await self.ends()
        results = {(process.state, process.status) for process in ended.values()}
        assert results == {("settled", "accepted")}
        taken = Counter((process_id, kind) for _, process_id, kind in set(application.taken))
        assert taken == Counter((process_id, "process.settled") for process_id in ended)
        assert await self.findings() == []

    async def _is_calling(self) -> bool:
        query = "SELECT count(*) FROM {} WHERE lease_until > {}"
        async with self._store.database.read() as connection:
            for table in ("processes", "deliveries"):
                held = await connection.exec_driver_sql(query.format(table, self.clock.now()))
                if held.scalar():
                    return True
        return False

    # Its log

    def told(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.lines if name == event]

    def words(self) -> Counter[str]:
        """The words for what went wrong, in any line."""
        found = (fields.get(key) for _, fields in self.lines for key in ("error", "reason"))
        return Counter(word for word in found if isinstance(word, str))

    def calls(self, victim: str) -> int:
        """How many calls the daemon has tried there."""
        if victim == APPLICATION:
            return len(self.told("delivery_failed")) + len(self.told("delivery_succeeded"))
        verbs = [fields["verb"] for fields in self.told("outbound_call")]
        return sum(_CALLS[verb] == victim for verb in verbs)

    def _note(self, _level: str, event: str | None, fields: Mapping[str, Any]) -> None:
        self.lines.append((event or "", dict(fields)))


class WellAssure:
    """A well Assure with its token endpoint: every process is accepted, but for the pending."""

    def __init__(self, clock: PlayedClock) -> None:
        self.pending: set[str] = set()
        self.expires_in = 3600
        """Seconds, as the token endpoint tells it."""
        self.good_from, self.good_until = 0.0, math.inf
        """Seconds of a token's age between which it is accepted."""
        self._clock = clock
        self._issued: list[float] = []

    def call(self, request: Request) -> bytes:
        number = int(request.headers["authorization"].removeprefix("Bearer token-"))
        age = self._clock.monotonic() - self._issued[number]
        if not self.good_from <= age < self.good_until:
            return answer(b"", b"401 Unauthorized")
        body = {"status": "accepted", "finalResult": "as it should be"}
        if request.path.split("/")[5] in self.pending:
            body = {"status": "pending"}
        return answer(json.dumps(body).encode())

    def token(self, _: Request) -> bytes:
        self._issued.append(self._clock.monotonic())
        body = {"access_token": f"token-{len(self._issued) - 1}", "expires_in": self.expires_in}
        return answer(json.dumps(body).encode())


class WellApplication:
    """Takes every result and remembers it."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, str]] = []
        """Webhook id, process id and type of each result that was answered 200."""

    def take(self, request: Request) -> bytes:
        event = json.loads(request.body)
        key = request.headers["webhook-id"]
        self.taken.append((key, event["data"]["processId"], event["type"]))
        return answer(b"")
