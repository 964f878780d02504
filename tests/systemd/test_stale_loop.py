"""A job that no longer ticks ends the pings, although the event loop still turns."""

import asyncio
import json
from typing import Any

from reconciler.config import Configuration, load, resolve_secrets
from reconciler.daemon.build import build_service
from reconciler.daemon.certificates import load_certificates
from reconciler.daemon.scheduler import STALE
from reconciler.runtime.clock import Clock
from reconciler.store.open import open_store, prepare
from reconciler.systemd.notify import Notifier
from reconciler.telemetry.logging import LogSystem
from tests.e2e.conftest import PATIENCE


class ShiftedClock(Clock):
    """This machine's clocks, whose monotonic one a test can put forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


async def test_a_loop_that_does_not_tick_gets_no_pings_until_it_does(
    here: Any, manager: Any
) -> None:
    settings = load(here.config, {})
    secrets = resolve_secrets(settings, {})
    await asyncio.to_thread(prepare, secrets.store_url, may_create=True, may_migrate=True)
    store = await open_store(secrets.store_url, is_daemon=True)
    clock, stop = ShiftedClock(), asyncio.Event()
    written = here.directory / "log.ndjson"
    with written.open("wb") as stream:
        logs = LogSystem(level="info", format="json", stream=stream)
        notifier = Notifier({"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "10000"})
        certificates, _ = load_certificates(settings)
        configuration = Configuration(settings, secrets, {})
        service = build_service(
            configuration, certificates, store, logs, clock=clock, notifier=notifier
        )
        running = asyncio.create_task(service.run(stop))
        try:
            await manager.told("WATCHDOG=1", 3)

            # No loop has ticked for a long time now; the heartbeat ticks again within 5 s.
            clock.ahead = STALE + 1
            async with asyncio.timeout(PATIENCE):
                while not (told := withheld(written)):
                    await asyncio.sleep(0.005)

            assert "heartbeat" in told[0]["loops"]
            await manager.told("WATCHDOG=1", manager.messages.count("WATCHDOG=1") + 3)
        finally:
            stop.set()
            assert await running
            await store.database.close()
            logs.close(timeout=PATIENCE)


def withheld(written: Any) -> list[dict[str, Any]]:
    whole = written.read_text().rpartition("\n")[0]
    lines = [json.loads(line) for line in whole.splitlines()]
    return [line for line in lines if line["event"] == "watchdog_withheld"]
