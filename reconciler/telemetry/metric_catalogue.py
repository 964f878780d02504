"""The catalogue of every metric. To add one: an entry here, and the table printed anew.

``python -m reconciler.telemetry.metric_catalogue`` prints the table of docs/metrics.md. Every
label has a closed set of values, so nobody outside can make a series. Tests hold the three
together.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from reconciler.telemetry.event_catalogue import CATALOGUE as EVENTS
from reconciler.telemetry.events import RANK

OTHER: Final = "other"
"""The value of a label for anything that is not among its values."""

STATES: Final = ("waiting", "reported", "overdue", "settled", "gone", "expired")
REASONS: Final = (
    "authorization_missing", "authorization_wrong", "forbidden", "not_found",
    "method_not_allowed", "too_large", "incomplete", "bad_http", "headers_too_large",
    "unknown_encoding", "proxy_protocol", "not_json", "not_an_object", "missing_member",
    "not_a_string", "empty", "too_long", "control_characters", "bad_id",
)  # fmt: skip
"""Why a request to the listener was refused, as ``callback_rejected`` says."""

HANDSHAKE_FAILURES: Final = (
    "http_request", "proxy_protocol", "not_tls", "unsupported_protocol", "no_shared_cipher",
    "unknown_ca", "certificate_unknown", "bad_certificate", "certificate_expired", "timeout",
    "reset",
)  # fmt: skip
"""Why a TLS handshake failed, as ``tls_handshake_failed`` says."""

OUTCOMES: Final = (
    "ok", "not_found", "refused", "denied", "throttled", "server_error", "timeout",
    "unreachable", "unreadable",
)  # fmt: skip
"""The outcomes of a call: ``denied`` is 401 or 403, ``refused`` any other 4xx but 404 and 429."""

NOTED: Final = tuple(
    event.name for event in EVENTS if event.level == "any" or RANK[event.level] >= RANK["warning"]
)
"""Events that an operator may have to act on."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name with the unit, what it counts, and the values of its labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """A label without values has one that is fixed for a run."""
    buckets: tuple[float, ...] = ()


_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CALL = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)

# fmt: off
CATALOGUE: Final[tuple[Metric, ...]] = (
    # Callbacks
    Metric("reconciler_callbacks_kept_total", "counter",
           "Callbacks made durable, by where. One that waited in the spool counts there, and in "
           "the store once it is drained.",
           {"where": ("store", "spool")}),
    Metric("reconciler_callbacks_lost_total", "counter",
           "Callbacks that neither the store nor the spool took: answered 503."),
    Metric("reconciler_callbacks_rejected_total", "counter",
           "Requests to the listener that were refused.",
           {"reason": REASONS}),
    Metric("reconciler_tls_handshakes_failed_total", "counter",
           "TLS handshakes with the listener that failed.",
           {"reason": HANDSHAKE_FAILURES}),
    Metric("reconciler_connections_full", "gauge",
           "1 while every connection that the listener may have is busy, and others wait."),
    Metric("reconciler_callback_acknowledge_seconds", "histogram",
           "From the last byte of a callback to its durable 200.",
           buckets=_FAST),
    Metric("reconciler_commit_seconds", "histogram",
           "Time of one commit of callbacks to the store, waiting for its turn included.",
           buckets=_FAST),
    Metric("reconciler_commit_callbacks", "histogram",
           "Callbacks in one commit.",
           buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)),
    Metric("reconciler_spooled_callbacks", "gauge",
           "Callbacks of this daemon that wait in the spool."),

    # Processes
    Metric("reconciler_process_changes_total", "counter",
           "Changes of processes made by this daemon. The command line's are not counted.",
           {"change": ("registered", "overdue", "settled", "corrected", "gone", "expired")}),
    Metric("reconciler_settlements_total", "counter",
           "Processes settled, by the source of the final status.",
           {"by": ("callback", "notify", "fetch")}),
    Metric("reconciler_processes", "gauge",
           "Processes on the ledger, by state.",
           {"state": STATES}),
    Metric("reconciler_oldest_overdue_age_seconds", "gauge",
           "How long the oldest overdue process has been overdue; 0 if none is."),
    Metric("reconciler_oldest_reported_age_seconds", "gauge",
           "How long the oldest claim has waited for its confirmation; 0 if none does."),
    Metric("reconciler_last_callback_age_seconds", "gauge",
           "Time since the newest callback; absent before the first."),
    Metric("reconciler_last_sweep_age_seconds", "gauge",
           "Time since this daemon last looked for due processes; before the first look, since its "
           "start."),

    # Calls to Assure
    Metric("reconciler_assure_calls_total", "counter",
           "HTTP calls to Assure, by verb and outcome. `denied` is 401 or 403, "
           "`refused` another 4xx.",
           {"verb": ("fetch", "notify", "token"), "outcome": OUTCOMES}),
    Metric("reconciler_assure_call_seconds", "histogram",
           "Time of one HTTP call to Assure.",
           {"verb": ("fetch", "notify", "token")},
           buckets=_CALL),
    Metric("reconciler_breaker_state", "gauge",
           "1 for the state that the breaker of the calls to Assure is in.",
           {"state": ("closed", "open", "probing")}),

    # Results for the application
    Metric("reconciler_deliveries_total", "counter",
           "Attempts to deliver a result, by outcome.",
           {"outcome": ("succeeded", "failed", "dead")}),
    Metric("reconciler_delivery_seconds", "histogram",
           "Time of one attempt to deliver.",
           buckets=_CALL),
    Metric("reconciler_outbox_pending", "gauge",
           "Deliveries that wait for their (next) attempt."),
    Metric("reconciler_outbox_oldest_pending_age_seconds", "gauge",
           "How long the oldest pending delivery has been pending; 0 if none is."),
    Metric("reconciler_outbox_dead", "gauge",
           "Deliveries that were given up."),

    # The daemon
    Metric("reconciler_build_info", "gauge",
           "Always 1; the label tells the version.",
           {"version": ()}),
    Metric("reconciler_ready", "gauge",
           "1 while a callback would be answered 200, as `/ready` says."),
    Metric("reconciler_store_up", "gauge",
           "1 if the store has answered this scrape. If it has not, all metrics read from it are "
           "absent."),
    Metric("reconciler_instances", "gauge",
           "Daemons on this store with a recent heartbeat."),
    Metric("reconciler_disk_free_bytes", "gauge",
           "Free space for this user where the SQLite file and the spool are.",
           {"of": ("store", "spool")}),
    Metric("reconciler_disk_size_bytes", "gauge",
           "Size of the file systems of the SQLite file and the spool.",
           {"of": ("store", "spool")}),
    Metric("reconciler_job_failures_total", "counter",
           "Runs of repeated work that ended with an error. A store that stays away counts once.",
           # ``job`` is Prometheus' own label
           {"name": ("sweep", "heartbeat", "summary", "host_checks", "housekeeping",
                     "action_log")}),
    Metric("reconciler_events_total", "counter",
           "Log lines of the level warning and above, by event; those that `log.level` hides too.",
           {"event": NOTED}),
    Metric("reconciler_log_lines_dropped_total", "counter",
           "Log lines lost because nobody read them in time."),
)
# fmt: on

BY_NAME: Final = {metric.name: metric for metric in CATALOGUE}


def table() -> str:
    """Return the catalogue as a Markdown table, one metric a line, without a final newline."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for metric in CATALOGUE:
        labels = "; ".join(_told(*label) for label in metric.labels.items())
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |")
    return "\n".join(rows)


def _told(label: str, values: tuple[str, ...]) -> str:
    if values == NOTED:
        return f"`{label}`: see [logs.md](logs.md)"
    return f"`{label}`: {', '.join(values)}" if values else f"`{label}`"


if __name__ == "__main__":
    sys.stdout.write(f"{table()}\n")
