"""Counts and times the daemon's work from its log, in a registry of its own.

``note`` gets every log event, whatever the level of the log. So a count and its line never
differ, and no room counts a second time.

The reasons: docs/decisions/027.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from reconciler.telemetry.events import RANK
from reconciler.telemetry.metric_catalogue import BY_NAME, OTHER

Fields = Mapping[str, Any]

_WARNING = RANK["warning"]
_OUTCOME_OF_ERROR = {
    "timeout": "timeout",
    "too_large": "unreadable",
    "not_http": "unreadable",
    "bad_encoding": "unreadable",
}
_OUTCOME_OF_STATUS = {401: "denied", 403: "denied", 404: "not_found", 429: "throttled"}


class Closed:
    """A counter with one label: all its values are there from the start, the rest is ``other``."""

    def __init__(self, family: Any, label: str, values: Sequence[str]) -> None:
        self._children = {value: family.labels(**{label: value}) for value in values}
        self._other = family.labels(**{label: OTHER})

    def __getitem__(self, value: object) -> Any:
        return self._children.get(value, self._other) if isinstance(value, str) else self._other


class Metrics:
    """The counters and histograms of one daemon. Safe to use from any thread."""

    def __init__(self) -> None:
        # The library's own switch: a second series for each counter would be noise.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._kept = self._closed("reconciler_callbacks_kept_total", "where")
        self._lost = self._counter("reconciler_callbacks_lost_total")
        self._acknowledge = self._histogram("reconciler_callback_acknowledge_seconds")
        self._commit_time = self._histogram("reconciler_commit_seconds")
        self._commit_size = self._histogram("reconciler_commit_callbacks")
        self._changes = self._closed("reconciler_process_changes_total", "change")
        self._settlements = self._closed("reconciler_settlements_total", "by")
        calls = self._counter("reconciler_assure_calls_total")
        verbs = BY_NAME["reconciler_assure_calls_total"].labels["verb"]
        outcomes = BY_NAME["reconciler_assure_calls_total"].labels["outcome"]
        self._calls = {
            (verb, outcome): calls.labels(verb=verb, outcome=outcome)
            for verb in verbs
            for outcome in outcomes
        }
        times = self._histogram("reconciler_assure_call_seconds")
        self._call_times = {verb: times.labels(verb=verb) for verb in verbs}
        self._deliveries = self._closed("reconciler_deliveries_total", "outcome")
        self._delivery_time = self._histogram("reconciler_delivery_seconds")
        self._job_failures = self._closed("reconciler_job_failures_total", "name")
        self._events = self._closed("reconciler_events_total", "event")
        self._noting: dict[str, Callable[[Fields], None]] = {
            "callbacks_committed": self._committed,
            "callback_acknowledged": lambda fields: self._acknowledge.observe(
                fields.get("seconds", 0)
            ),
            "callback_spooled": lambda _: self._kept["spool"].inc(),
            "callback_not_durable": lambda fields: self._lost.inc(fields.get("count", 1)),
            "process_settled": self._settled,
            "outbound_call": self._called,
            "job_failed": lambda fields: self._job_failures[fields.get("job")].inc(),
            **{
                f"process_{change}": self._changed(change)
                for change in ("registered", "overdue", "corrected", "gone", "expired")
            },
            **{
                f"delivery_{outcome}": self._delivered(outcome)
                for outcome in ("succeeded", "failed", "dead")
            },
        }
        self.counted = frozenset(self._noting)
        """The events that say more than their name and level."""

    def note(self, level: str, event: str | None, fields: Fields) -> None:
        """Count a log event. It never raises, whatever the event says."""
        noting = self._noting.get(event) if isinstance(event, str) else None
        if noting is not None:
            noting(fields)
        if RANK[level] >= _WARNING:
            self._events[event].inc()

    def _committed(self, fields: Fields) -> None:
        count = fields.get("count", 0)
        self._kept["store"].inc(count)
        self._commit_size.observe(count)
        self._commit_time.observe(fields.get("seconds", 0))

    def _settled(self, fields: Fields) -> None:
        self._changes["settled"].inc()
        self._settlements[fields.get("by")].inc()

    def _called(self, fields: Fields) -> None:
        verb = str(fields.get("verb"))
        times = self._call_times.get(verb)
        if times is None:
            return  # a delivery or a ping, which have lines of their own
        times.observe(fields.get("duration_ms", 0) / 1000)
        outcome = outcome_of(fields.get("http_status"), fields.get("error"))
        self._calls[verb, outcome].inc()

    def _changed(self, change: str) -> Callable[[Fields], None]:
        counter = self._changes[change]
        return lambda _: counter.inc()

    def _delivered(self, outcome: str) -> Callable[[Fields], None]:
        counter = self._deliveries[outcome]

        def count(fields: Fields) -> None:
            counter.inc()
            self._delivery_time.observe(fields.get("duration_ms", 0) / 1000)

        return count

    def _counter(self, name: str) -> Counter:
        metric = BY_NAME[name]
        return Counter(name, metric.meaning, tuple(metric.labels), registry=self.registry)

    def _histogram(self, name: str) -> Histogram:
        metric = BY_NAME[name]
        labels, buckets = tuple(metric.labels), metric.buckets
        return Histogram(name, metric.meaning, labels, registry=self.registry, buckets=buckets)

    def _closed(self, name: str, label: str) -> Closed:
        return Closed(self._counter(name), label, BY_NAME[name].labels[label])


def outcome_of(http_status: int | None, error: str | None) -> str:
    """Return the outcome class of a call: of its error if it had one, else of its status."""
    if error is not None:
        return _OUTCOME_OF_ERROR.get(str(error), "unreachable")
    if http_status is None:
        return "unreadable"
    if 200 <= http_status < 300:
        return "ok"
    if 500 <= http_status < 600:
        return "server_error"
    if 400 <= http_status < 500:
        return _OUTCOME_OF_STATUS.get(http_status, "refused")
    return "unreadable"
