"""The summary that is logged once a minute, and the dead-man ping that follows it."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from structlog.typing import FilteringBoundLogger

from reconciler.config import InForce
from reconciler.daemon.host_checks import HostChecks
from reconciler.daemon.readiness import ReadinessCheck
from reconciler.daemon.scheduler import Scheduler
from reconciler.inbound.group_commit import Intake
from reconciler.inbound.listener import Listener
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.outbound.ping import Ping
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock, age
from reconciler.runtime.current_value import Current
from reconciler.store.views import Views
from reconciler.telemetry.logging import LogSystem

SECONDS = 60.0

_CALLS = ("fetch", "notify")


class Statistics:
    """Counts from the log what was done since the last summary."""

    EVENTS = ("callback_received", "process_settled", "outbound_call")
    """The events that it counts."""

    def __init__(self) -> None:
        self._counted: Counter[str] = Counter()

    def note(self, _level: str, event: str | None, fields: Mapping[str, Any]) -> None:
        """Count one log event."""
        if event == "callback_received":
            self._counted["callbacks"] += 1
        elif event == "process_settled":
            self._counted["settlements"] += 1
        elif event == "outbound_call" and fields.get("verb") in _CALLS:
            self._counted["calls"] += 1

    def take(self) -> Counter[str]:
        """Return what was counted, and begin anew."""
        counted, self._counted = self._counted, Counter()
        return counted


class Summary:
    """The job that logs how things stand, and pings if all is well."""

    name = "summary"
    seconds = SECONDS

    def __init__(
        self,
        views: Views,
        current: Current[InForce],
        *,
        budget: Budget,
        breaker: Breaker,
        intake: Intake,
        listener: Listener,
        host_checks: HostChecks,
        readiness: ReadinessCheck,
        scheduler: Scheduler,
        ping: Ping,
        statistics: Statistics,
        clock: Clock,
        logs: LogSystem,
    ) -> None:
        self.bell = Bell(self.name)
        self._views = views
        self._current = current
        self._budget = budget
        self._breaker = breaker
        self._intake = intake
        self._listener = listener
        self._host_checks = host_checks
        self._readiness = readiness
        self._scheduler = scheduler
        self._ping = ping
        self._statistics = statistics
        self._clock = clock
        self._logs = logs
        self._log: FilteringBoundLogger = logs.logger

    async def turn(self) -> bool:
        """Log the summary, then ping. Where the store does not answer there is neither."""
        await self._summarize()
        secrets, settings = self._current.value.secrets, self._current.value.settings
        if settings.heartbeat is not None and secrets.heartbeat_url and await self._is_well():
            self._ping.send(secrets.heartbeat_url, settings.heartbeat.interval / 1000)
        return False

    async def _is_well(self) -> bool:
        """Tell whether every job makes progress and a callback would be answered 200."""
        return not self._scheduler.stale() and (await self._readiness.check()).is_ready

    async def _summarize(self) -> None:
        counts = await self._views.counts()
        now = self._clock.now()
        counted, free_mb = self._statistics.take(), self._host_checks.free_mb
        self._log.info(
            "summary",
            **counts.states,
            oldest_overdue_s=age(counts.overdue_since, now),
            oldest_reported_s=age(counts.reported_since, now),
            last_callback_age_s=age(counts.last_callback_at, now),
            callbacks=counted["callbacks"],
            settlements=counted["settlements"],
            calls=counted["calls"],
            calls_per_second=round(self._budget.rate, 3),
            rejected_total=sum(self._listener.rejected.values()),
            breaker=self._breaker.state,
            deliveries_pending=counts.deliveries_pending,
            deliveries_dead=counts.deliveries_dead,
            oldest_pending_s=age(counts.deliveries_pending_since, now),
            spooled=self._intake.spooled,
            log_lines_dropped=self._logs.dropped,
            store_free_mb=free_mb.get("store"),
            spool_free_mb=free_mb.get("spool"),
        )
