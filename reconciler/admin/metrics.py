"""What is read when somebody asks for it: the ledger in numbers, the disks, this daemon's state."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from reconciler.admin.health import Health
from reconciler.admin.single_flight import SingleFlight
from reconciler.runtime.clock import age
from reconciler.store.errors import StoreError
from reconciler.store.instances import Instance, Instances
from reconciler.store.views import Counts, Views
from reconciler.telemetry.metric_catalogue import BY_NAME, OTHER

PATIENCE = 4.0
"""Seconds that a scrape waits for the store, the disks and the readiness: together, not each."""

Value = tuple[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class OwnState:
    """What this daemon knows without asking anybody."""

    instance: Callable[[], Instance]
    rejected: Mapping[str, int]
    """Refused requests by code."""
    dropped: Callable[[], int]
    """Log lines lost."""


class Gauges(Collector):
    """Reads values at scrape time: ``look`` first, then the registry collects what it has seen."""

    def __init__(
        self,
        *,
        views: Views,
        instances: Instances,
        health: Health,
        own: OwnState,
        disks: Mapping[str, Path],
        now: Callable[[], int],
        monotonic: Callable[[], float],
        patience: float = PATIENCE,
    ) -> None:
        """``disks``: a path on each, by what lies there (``store``, ``spool``)."""
        self._views = views
        self._instances = instances
        self._own = own
        self._disks = disks
        self._now = now
        self._patience = patience
        self._store = SingleFlight(self._ask_store, monotonic=monotonic)
        self._space = SingleFlight(self._ask_disks, monotonic=monotonic)
        self._health = SingleFlight(health.ready, monotonic=monotonic)
        self._seen: tuple[Counts, int] | None = None
        self._sizes: dict[str, tuple[int, int]] = {}
        self._is_ready = False

    async def look(self) -> None:
        """See what the store, the disks and the readiness check say, in time."""
        seen, sizes, readiness = await asyncio.gather(
            self._store.within(self._patience),
            self._space.within(self._patience),
            self._health.within(self._patience),
        )
        self._seen = seen
        self._sizes = sizes or {}
        self._is_ready = readiness is not None and readiness.is_ready

    def describe(self) -> list[GaugeMetricFamily]:
        """Return nothing: registering must not read anything."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield every metric that has a value."""
        for name, values in self._values().items():
            metric = BY_NAME[name]
            labels = list(metric.labels)
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(name, metric.meaning, labels=labels)
            for label_values, value in values:
                family.add_metric(label_values, value)
            yield family

    def _values(self) -> dict[str, list[Value]]:
        instance = self._own.instance()
        now = self._now()
        swept_at = instance.last_sweep_at or instance.started_at
        breakers = BY_NAME["reconciler_breaker_state"].labels["state"]
        values: dict[str, list[Value]] = {
            "reconciler_build_info": [((instance.version,), 1)],
            "reconciler_ready": _one(self._is_ready),
            "reconciler_store_up": _one(self._seen is not None),
            "reconciler_spooled_callbacks": _one(instance.spooled),
            "reconciler_last_sweep_age_seconds": _one(age(swept_at, now)),
            "reconciler_breaker_state": [((s,), float(s == instance.breaker)) for s in breakers],
            "reconciler_log_lines_dropped_total": _one(self._own.dropped()),
            "reconciler_callbacks_rejected_total": _rejected(self._own.rejected),
            "reconciler_disk_free_bytes": [((of,), free) for of, (free, _) in self._sizes.items()],
            "reconciler_disk_size_bytes": [((of,), size) for of, (_, size) in self._sizes.items()],
        }
        return values if self._seen is None else {**values, **_stored(*self._seen, now)}

    async def _ask_store(self) -> tuple[Counts, int] | None:
        try:
            counts = await self._views.counts()
            return counts, len(await self._instances.live(self._now()))
        except StoreError:
            return None

    async def _ask_disks(self) -> dict[str, tuple[int, int]]:
        # In a thread: a network file system that is gone would stop the loop.
        return await asyncio.to_thread(_spaces, self._disks)


def _stored(counts: Counts, instances: int, now: int) -> dict[str, list[Value]]:
    values: dict[str, list[Value]] = {
        "reconciler_processes": [((state,), float(n)) for state, n in counts.states.items()],
        "reconciler_oldest_overdue_age_seconds": _one(age(counts.overdue_since, now)),
        "reconciler_oldest_reported_age_seconds": _one(age(counts.reported_since, now)),
        "reconciler_outbox_pending": _one(counts.deliveries_pending),
        "reconciler_outbox_dead": _one(counts.deliveries_dead),
        "reconciler_outbox_oldest_pending_age_seconds": _one(
            age(counts.deliveries_pending_since, now)
        ),
        "reconciler_instances": _one(instances),
    }
    if counts.last_callback_at is not None:
        values["reconciler_last_callback_age_seconds"] = _one(age(counts.last_callback_at, now))
    return values


def _rejected(counted: Mapping[str, int]) -> list[Value]:
    reasons = BY_NAME["reconciler_callbacks_rejected_total"].labels["reason"]
    known = {reason: counted.get(reason, 0) for reason in reasons}
    other = sum(counted.values()) - sum(known.values())
    return [((reason,), float(count)) for reason, count in {**known, OTHER: other}.items()]


def _spaces(disks: Mapping[str, Path]) -> dict[str, tuple[int, int]]:
    """Return free and all bytes of each disk that answers; the spool may not be there yet."""
    found = {}
    for of, path in disks.items():
        try:
            disk = os.statvfs(next(p for p in (path, *path.parents) if p.exists()))
        except OSError:
            continue
        found[of] = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)
    return found


def _one(value: float | None) -> list[Value]:
    return [((), float(value or 0))]
