"""The summary and the ping that follows it; what is counted is counted from the log."""

from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from reconciler.admin.health import Readiness
from reconciler.config import Secrets, in_force, load
from reconciler.daemon.summary import Statistics, Summary
from reconciler.ledger import State
from reconciler.runtime.current_value import Current
from reconciler.store.errors import StoreUnavailableError
from reconciler.store.views import Counts
from tests.clock import PlayedClock

URL = "https://hc.example/ping"


class Stage:
    """A summary of a daemon that is as the test wants it."""

    def __init__(self) -> None:
        self.lines = LogCapture()
        self.stale: list[str] = []
        self.readiness = Readiness(True)
        self.store_is_away = False
        self.pings: list[tuple[str, float]] = []
        self.statistics = Statistics()
        settings = load(None, {"RECONCILER_HEARTBEAT__URL": URL})
        secrets = Secrets(store_url="", heartbeat_url=URL)
        parts: dict[str, Any] = {
            "budget": SimpleNamespace(rate=20.0),
            "breaker": SimpleNamespace(state="closed"),
            "intake": SimpleNamespace(spooled=0),
            "listener": SimpleNamespace(rejected={"unauthorized": 2}),
            "host_checks": SimpleNamespace(free_mb={"store": 7}),
            "readiness": SimpleNamespace(check=self._check),
            "scheduler": SimpleNamespace(stale=lambda: self.stale),
            "ping": SimpleNamespace(send=lambda url, every: self.pings.append((url, every))),
            "logs": SimpleNamespace(
                logger=structlog.wrap_logger(None, processors=[self.lines]), dropped=0
            ),
        }
        views: Any = SimpleNamespace(counts=self._counts)
        self.summary = Summary(
            views,
            Current(in_force(settings, secrets)),
            statistics=self.statistics,
            clock=PlayedClock(),
            **parts,
        )

    async def _check(self) -> Readiness:
        return self.readiness

    async def _counts(self) -> Counts:
        if self.store_is_away:
            raise StoreUnavailableError("locked")
        return Counts({str(state): 0 for state in State}, None, None, None, 0, 0)

    def told(self) -> list[Any]:
        return [line for line in self.lines.entries if line["event"] == "summary"]


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize(
    ("stale", "readiness", "pings"),
    [
        ([], Readiness(True), 1),
        ([], Readiness(True, degraded=("assure: open",)), 1),
        (["sweep"], Readiness(True), 0),
        ([], Readiness(False, reason="neither the store nor the spool takes callbacks"), 0),
    ],
)
async def test_there_is_no_ping_while_something_is_wrong_with_us(
    stage: Stage, stale: list[str], readiness: Readiness, pings: int
) -> None:
    stage.stale, stage.readiness = stale, readiness
    await stage.summary.turn()
    assert stage.pings == [(URL, 60.0)] * pings
    assert len(stage.told()) == 1


async def test_where_the_store_does_not_answer_there_is_neither_summary_nor_ping(
    stage: Stage,
) -> None:
    stage.store_is_away = True
    with pytest.raises(StoreUnavailableError):
        await stage.summary.turn()
    assert (stage.told(), stage.pings) == ([], [])


async def test_what_was_done_since_the_last_summary_is_counted_from_the_log(stage: Stage) -> None:
    for event, fields in (
        ("callback_received", {}),
        ("callback_received", {}),
        ("process_settled", {"by": "fetch"}),
        ("outbound_call", {"verb": "fetch"}),
        ("outbound_call", {"verb": "notify"}),
        ("outbound_call", {"verb": "token"}),
        ("process_overdue", {}),
        (None, {}),
    ):
        stage.statistics.note("info", event, fields)
    await stage.summary.turn()
    await stage.summary.turn()
    first, second = stage.told()
    assert (first["callbacks"], first["settlements"], first["calls"]) == (2, 1, 2)
    assert (second["callbacks"], second["settlements"], second["calls"]) == (0, 0, 0)
    assert (first["rejected_total"], first["store_free_mb"]) == (2, 7)
