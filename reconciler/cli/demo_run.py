"""One run of the demo: simulator and daemon in one process, on a temporary store."""

import asyncio
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from reconciler.cli.errors import FAILED, CommandError
from reconciler.config import Configuration, load, resolve_secrets, rules
from reconciler.daemon.build import build_service
from reconciler.daemon.certificates import load_certificates
from reconciler.ledger import Registration, State, TrackedProcess
from reconciler.runtime.clock import Clock
from reconciler.simulator import Faults, SimProcess, Simulator, World
from reconciler.store.open import Store, open_store, prepare
from reconciler.telemetry.logging import LogSystem

FAULTS = Faults(
    lose_callbacks=0.4,
    lose_notified=0.25,
    duplicate_callbacks=0.05,
    wrong_claim=0.03,
    server_error=0.03,
    latency=0.005,
)
"""Four of ten callbacks are lost, and one in four of those that Notify asks for."""

CONFIG = """\
[listener]
port = 0
authorization = ["Bearer only-for-the-demo"]
[admin]
listen = ""
[assure]
base_url = "{base_url}"
token_url = "{token_url}"
client_id = "demo"
client_secret = "demo-secret"
timeout = "2s"
requests_per_second = 200
[reconcile]
callback_timeout = "2s"
sweep_interval = "100ms"
notify_grace = "1s"
backoff = {{ initial = "1s", factor = 2.0, max = "5s", jitter = 0.1 }}
[store]
url = "sqlite:///{directory}/demo.db"
spool = "{directory}/spool"
"""
FINISH_WITHIN = 1.5
"""Seconds until the last end user is done: less than ``callback_timeout``."""

LOOK = 0.1
BY = {"notify": "Notify", "fetch": "Get process"}


class Demo:
    """One run, on a temporary store."""

    def __init__(
        self, directory: Path, processes: int, seed: int, limit: float, *, quiet: bool
    ) -> None:
        self._directory = directory
        self._count = processes
        self._limit = limit
        self._quiet = quiet
        self._world = World(seed, faults=FAULTS)
        self._seen: dict[str, TrackedProcess] = {}
        self._began = time.monotonic()

    async def run(self) -> dict[str, Any]:
        """Run it, show it, and return the summary."""
        with (self._directory / "log.ndjson").open("wb") as log:
            logs = LogSystem(level="info", format="json", stream=log)
            simulator = Simulator(self._world, log=logs.logger)
            await simulator.start()
            try:
                return await self._with_daemon(simulator, logs)
            finally:
                await simulator.stop()
                logs.close(timeout=1.0)

    async def _with_daemon(self, simulator: Simulator, logs: LogSystem) -> dict[str, Any]:
        path = self._directory / "demo.toml"
        urls = {"base_url": simulator.base_url, "token_url": simulator.token_url}
        path.write_text(CONFIG.format(directory=self._directory, **urls))
        settings = load(path, {})
        secrets = resolve_secrets(settings, os.environ)
        await asyncio.to_thread(prepare, secrets.store_url, may_create=True, may_migrate=True)
        store = await open_store(secrets.store_url, is_daemon=True)
        stop = asyncio.Event()
        certificates, _ = load_certificates(settings)
        service = build_service(Configuration(settings, secrets, {}), certificates, store, logs)
        running = asyncio.create_task(service.run(stop))
        try:
            await asyncio.wait(
                {running, ready := asyncio.create_task(service.is_ready.wait())},
                return_when=asyncio.FIRST_COMPLETED,
            )
            ready.cancel()
            if running.done():
                await running
                raise CommandError(FAILED, "the daemon of the demo did not start")
            simulator.aim(f"{service.listener_url}/callbacks/assure", "Bearer only-for-the-demo")
            made = await self._register(store, settings)
            await self._watch(store)
            return await self._summary(store, made)
        finally:
            stop.set()
            await running
            await store.database.close()

    async def _register(self, store: Store, settings: Any) -> list[SimProcess]:
        """Create processes and register them, as the user's application does."""
        made = [
            self._world.add(finish_in=FINISH_WITHIN * (n + 1) / self._count)
            for n in range(self._count)
        ]
        registrations = [
            Registration(p.process_id, p.dossier_id, p.provider, created_at=p.created_at, by="demo")
            for p in made
        ]
        for start in range(0, len(made), 200):
            batch = registrations[start:][:200]
            await store.registry.register(batch, rules(settings), Clock().now(), whole=True)
        return made

    async def _watch(self, store: Store) -> None:
        """Show each recovery as it happens, until every process has ended or the time is up."""
        out = Console(stderr=True, highlight=False, soft_wrap=True, quiet=self._quiet)
        told = -1
        with Live(console=out, auto_refresh=False, transient=True) as live:
            while (elapsed := time.monotonic() - self._began) < self._limit:
                for process in await self._newly_settled(store):
                    if process.settled_by in BY:
                        out.print(Text(_recovery(process)))
                counts = (await store.views.counts()).states
                if out.is_terminal:
                    live.update(Text(_line(elapsed, counts), style="bold"), refresh=True)
                elif int(elapsed) > told:
                    told = int(elapsed)
                    out.print(_line(elapsed, counts))
                if not any(counts[state] for state in State if state.is_open):
                    return
                await asyncio.sleep(LOOK)

    async def _newly_settled(self, store: Store) -> list[TrackedProcess]:
        settled, _ = await store.views.page(state=State.SETTLED, limit=self._count, cursor=None)
        new = [process for process in settled if process.process_id not in self._seen]
        self._seen |= {process.process_id: process for process in new}
        return new

    async def _summary(self, store: Store, made: list[SimProcess]) -> dict[str, Any]:
        await self._newly_settled(store)
        by = Counter(str(process.settled_by) for process in self._seen.values())
        true = sum(
            process.process_id in self._seen
            and self._seen[process.process_id].status == process.final_status
            for process in made
        )
        return {
            "processes": len(made),
            "callbacksLost": sum(process.callbacks_lost for process in made),
            "settledByCallback": by["callback"],
            "settledByNotify": by["notify"],
            "settledByFetch": by["fetch"],
            "settledWithTrueStatus": true,
            "notifyCalls": self._world.log.count("notify"),
            "fetchCalls": self._world.log.count("fetch"),
            "seconds": round(time.monotonic() - self._began, 1),
        }


def _recovery(process: TrackedProcess) -> str:
    late = ((process.settled_at or 0) - process.timeout_from) / 1000
    by = BY[str(process.settled_by)]
    return f"{process.process_id}  {process.status:<12}  by {by} after {late:.1f} s"


def _line(elapsed: float, counts: dict[str, int]) -> str:
    always = ("waiting", "reported", "overdue", "settled")
    shown = [f"{state} {n}" for state, n in counts.items() if n or state in always]
    return f"{elapsed:.0f} s  {'  '.join(shown)}"
