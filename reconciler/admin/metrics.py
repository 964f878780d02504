"""``GET /metrics``: what was counted, and what is read at the moment of a scrape.

The reasons: docs/decisions/028.
"""

import asyncio
from collections.abc import Awaitable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from reconciler.admin.health import Described, Health
from reconciler.admin.routing import Answer, Route
from reconciler.runtime.clock import Clock, age
from reconciler.runtime.disk import Space, space_of
from reconciler.runtime.single_flight import SingleFlight
from reconciler.store.errors import StoreError
from reconciler.store.open import Store
from reconciler.store.views import Counts
from reconciler.telemetry.metric_catalogue import BY_NAME, OTHER

LIMIT = 4.0
"""Seconds that a scrape waits for the store, the disks and the readiness: together, not each."""

_PLAIN = "text/plain"
_OPENMETRICS = "application/openmetrics-text"

T = TypeVar("T")
Value = tuple[tuple[str, ...], float]


class Logs(Protocol):
    """The log of a daemon, which can lose lines."""

    @property
    def dropped(self) -> int:
        """Lines lost so far."""
        ...


class Refusals(Protocol):
    """The public listener, which counts what it refuses."""

    @property
    def rejected(self) -> Mapping[str, int]:
        """Requests refused so far, by reason."""
        ...

    @property
    def handshakes_failed(self) -> Mapping[str, int]:
        """TLS handshakes failed so far, by reason."""
        ...

    @property
    def is_full(self) -> bool:
        """Whether every connection that may be open is busy."""
        ...


class MetricsPage:
    """The metrics of one daemon over HTTP."""

    def __init__(self, registry: CollectorRegistry, gauges: "Gauges") -> None:
        """``gauges`` joins the registry."""
        self._registry = registry
        self._gauges = gauges
        registry.register(gauges)

    @Route(
        "GET",
        "/metrics",
        {200: Answer("Every metric that has a value.", str, (_PLAIN, _OPENMETRICS))},
    )
    async def metrics(self, request: web.Request) -> web.Response:
        """Return all metrics, within a few seconds whatever the store does."""
        await self._gauges.look()
        # The library's own choice would copy text of the request into a header of the answer.
        if _OPENMETRICS in request.headers.get("Accept", ""):
            body = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
            return _text(body, openmetrics.CONTENT_TYPE_LATEST)
        return _text(generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4)


def _text(body: bytes, content_type: str) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": content_type})


class Gauges(Collector):
    """Reads values at scrape time: ``look`` reads, then the registry collects."""

    def __init__(
        self,
        store: Store,
        health: Health,
        *,
        own: Described,
        listener: Refusals,
        logs: Logs,
        disks: Mapping[str, Path],
        clock: Clock,
        limit: float = LIMIT,
    ) -> None:
        """``listener``: the public one. ``disks``: a path on
        each, by what lies there (``store``, ``spool``)."""
        self._store = store
        self._health = health
        self._own = own
        self._listener = listener
        self._logs = logs
        self._disks = disks
        self._clock = clock
        self._limit = limit
        self._ledger = SingleFlight(self._ask_store, clock)
        self._room = SingleFlight(self._ask_disks, clock)
        self._seen: tuple[Counts, int] | None = None
        self._spaces: dict[str, Space] = {}
        self._is_ready = False

    async def look(self) -> None:
        """Read the store, the disks and the readiness, within the limit."""
        self._seen, spaces, readiness = await asyncio.gather(
            _or_none(self._ledger.get(self._limit)),
            _or_none(self._room.get(self._limit)),
            self._health.ready(self._limit),
        )
        self._spaces = spaces or {}
        self._is_ready = readiness.is_ready

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
        now = self._clock.now()
        swept_at = instance.last_sweep_at or instance.started_at
        spaces = self._spaces.items()
        breakers = BY_NAME["reconciler_breaker_state"].labels["state"]
        values: dict[str, list[Value]] = {
            "reconciler_build_info": [((instance.version,), 1)],
            "reconciler_ready": _one(self._is_ready),
            "reconciler_store_up": _one(self._seen is not None),
            "reconciler_spooled_callbacks": _one(instance.spooled),
            "reconciler_last_sweep_age_seconds": _one(age(swept_at, now)),
            "reconciler_breaker_state": [((s,), float(s == instance.breaker)) for s in breakers],
            "reconciler_log_lines_dropped_total": _one(self._logs.dropped),
            "reconciler_callbacks_rejected_total": _by_reason(
                "reconciler_callbacks_rejected_total", self._listener.rejected
            ),
            "reconciler_tls_handshakes_failed_total": _by_reason(
                "reconciler_tls_handshakes_failed_total", self._listener.handshakes_failed
            ),
            "reconciler_connections_full": _one(self._listener.is_full),
            "reconciler_disk_free_bytes": [((of,), each.free) for of, each in spaces],
            "reconciler_disk_size_bytes": [((of,), each.size) for of, each in spaces],
        }
        return values if self._seen is None else {**values, **_stored(*self._seen, now)}

    async def _ask_store(self) -> tuple[Counts, int]:
        counts = await self._store.views.counts()
        return counts, len(await self._store.instances.live(self._clock.now()))

    async def _ask_disks(self) -> dict[str, Space]:
        # In a thread: a network file system that is gone would stop the loop.
        return await asyncio.to_thread(_spaces_of, self._disks)


async def _or_none(answer: Awaitable[T]) -> T | None:
    try:
        return await answer
    except (StoreError, TimeoutError):
        return None


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


def _by_reason(name: str, counted: Mapping[str, int]) -> list[Value]:
    reasons = BY_NAME[name].labels["reason"]
    known = {reason: counted.get(reason, 0) for reason in reasons}
    other = sum(counted.values()) - sum(known.values())
    return [((reason,), float(count)) for reason, count in {**known, OTHER: other}.items()]


def _spaces_of(disks: Mapping[str, Path]) -> dict[str, Space]:
    """Return the room on each disk that answers."""
    found = {}
    for of, path in disks.items():
        try:
            found[of] = space_of(path)
        except OSError:
            continue
    return found


def _one(value: float | None) -> list[Value]:
    return [((), float(value or 0))]
