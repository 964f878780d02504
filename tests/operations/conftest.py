"""An actor on a real SQLite file, with a log that is kept."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from reconciler.config import Secrets, in_force, load
from reconciler.ledger import Callback, Registration
from reconciler.operations import Actor
from reconciler.runtime.current_value import Current
from reconciler.store.open import open_store
from tests.clock import NOW, PlayedClock

SETTLING = {
    "RECONCILER_RECONCILE__CONFIRM_CALLBACKS": "false",
    "RECONCILER_DELIVERY__URL": "http://127.0.0.1:1/",
    "RECONCILER_DELIVERY__SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}
"""Each callback settles its process and makes a delivery."""


@dataclass
class Bench:
    """Fixtures of the operations, beside the actor."""

    actor: Actor
    clock: PlayedClock
    log: LogCapture = field(default_factory=LogCapture)

    def logged(self) -> list[tuple[str, str | None]]:
        """The events since the last call, with the process that they are about."""
        told = [(line["event"], line.get("process_id")) for line in self.log.entries]
        self.log.entries.clear()
        return told

    async def settle(self, *process_ids: str) -> None:
        for key in process_ids:
            self.clock.move(1)
            claim = Callback(f"r-{key}", key, f"d-{key}", "accepted", self.clock.now())
            store, rules = self.actor.store, self.actor.rules
            await store.registry.register(
                [Registration(key, f"d-{key}")], rules, self.clock.now(), whole=True
            )
            await store.work.record([(key, claim)], rules, self.clock.now())

    async def entries(self, process_id: str) -> list[tuple[str, dict[str, Any]]]:
        timeline = await self.actor.store.views.timeline(process_id)
        return [(entry.event, entry.fields) for entry in timeline]

    async def actions(self) -> list[tuple[str, str | None]]:
        """Name and process of each action, the oldest first."""
        page, _ = await self.actor.store.actions.page(since=None, limit=100, cursor=None)
        return [(action.name, action.process_id) for action in reversed(page)]

    async def deliveries(self) -> list[tuple[str, str, int | None]]:
        """Process, state and due time of each delivery, the newest first."""
        page, _ = await self.actor.store.outbox.page(state=None, limit=100, cursor=None)
        return [(row.process_id, row.state, row.next_attempt_at) for row in page]


@pytest.fixture
async def bench(tmp_path: Path, empty_store: Path) -> AsyncIterator[Bench]:
    url = f"sqlite:///{copy(empty_store, tmp_path / 'ledger.db')}"
    store = await open_store(url, is_daemon=False)
    clock, log = PlayedClock(NOW), LogCapture()
    actor = Actor(
        "ada",
        store,
        Current(in_force(load(None, SETTLING), Secrets(store_url=url))),
        clock,
        structlog.wrap_logger(None, processors=[log]),
    )
    yield Bench(actor, clock, log)
    await store.database.close()
