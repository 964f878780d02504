"""Calls to Assure."""

from typing import Final

from reconciler.telemetry.events import BUG, CALL, Event

# fmt: off
CALLS: Final[tuple[Event, ...]] = (
    Event("notify_requested", "info", CALL,
          "Assure accepted to send the callback again.",
          "Nothing."),
    Event("notify_refused", "info", (*CALL, "error"),
          "Assure answered Notify with a 4xx, as it may for a process that is not finished. Get "
          "process is next.",
          "Nothing. If every Notify gets 404: check `assure.notify_path`."),
    Event("notify_failed", "warning", (*CALL, "error"),
          "Notify did not get through. It is tried again.",
          "Nothing, unless `breaker_opened` follows."),
    Event("status_fetched", "info", (*CALL, "status"),
          "Get process told the status.",
          "Nothing."),
    Event("fetch_refused", "info", (*CALL, "error"),
          "Assure answered Get process with a 4xx that is not a fault of the connection.",
          "Several: check `assure.process_path` and the client's permissions."),
    Event("fetch_failed", "warning", (*CALL, "error"),
          "Get process did not get through. It is tried again.",
          "Nothing, unless `breaker_opened` follows."),
    Event("outbound_call", "debug", ("verb", "http_status", "error", "duration_ms"),
          "An HTTP call of ours has ended; a delivery has lines of its own.",
          "Nothing."),
    Event("assure_throttled", "warning", ("wait_s",),
          "Assure answered 429, or the token endpoint 5xx with Retry-After (of that a minute at "
          "most). All calls wait that long; a 429 spends no attempt. A 5xx about one process "
          "delays that process alone.",
          "If it repeats: lower `assure.requests_per_second`, or ask for a higher limit."),
    Event("share_changed", "info", ("instances", "calls_per_second", "wait_s"),
          "`instances` daemons are on this PostgreSQL now, and this one may make "
          "`calls_per_second`, `wait_s` seconds from now. The rate is divided by all whose row is "
          "younger than 15 s; a new daemon makes no calls until the others know of it.",
          "Nothing. More `instances` than daemons for longer than 15 s: find out who else uses "
          "this database."),
    Event("share_lost", "warning", (),
          "This daemon has not renewed its row for 10 s: the store did not take it, or the "
          "process stood still. Others may be counting without it, so it makes no calls.",
          "See `store_unavailable` or `job_failed` near it. Without them, the machine or the "
          "process was stopped for a while."),
    Event("share_regained", "info", ("instances", "calls_per_second", "wait_s"),
          "The row is renewed, and calls are made again, `wait_s` seconds from now.",
          "Nothing."),
    Event("assure_path_suspect", "warning", (),
          "Get process answers 404, and has never yet answered 200 under this `base_url` and "
          "`process_path`. No process is marked `gone` for it.",
          "Check both settings: most likely one is wrong."),
    Event("breaker_opened", "warning", ("reason", "probe_in_s", "http_status", "error"),
          "Calls to Assure fail one after another: only a probe is made now and then. "
          "Callbacks are still taken, but wait for their confirmation. With the reason "
          "`token_refused`, `http_status` is that of the token endpoint, and `error` OAuth's own "
          "word, or `other`.",
          "`reason` says why: a refused token needs new credentials now; a fault of Assure "
          "passes, and the waiting calls are made then. The runbook has each word "
          "(ReconcilerBreakerOpen, ReconcilerTokenRefused)."),
    Event("breaker_closed", "info", ("open_for_s",),
          "A probe got through. Calls are made again.",
          "Nothing."),
    Event("breaker_probe_failed", "debug", ("reason", "probe_in_s", "http_status", "error"),
          "The probe failed too. The next comes after twice the wait, a minute at most.",
          "Nothing."),
    Event("call_crashed", "error", ("process_id", *BUG),
          "A bug while Assure was called. It counts as a failed call and is tried again.",
          "Keep this line for a bug report."),
    Event("result_not_recorded", "error", ("process_id", *BUG),
          "The store takes other results but not this one. The call is made again when its lease "
          "ends.",
          "If it repeats for the same process, keep this line for a bug report."),
    Event("downtime_detected", "warning", ("gap_s", "processes"),
          "No instance was alive in this gap, so callbacks may be lost. Each process that was "
          "waiting then gets one Get process. `gap_s` is null where the clock was put back "
          "meanwhile: then nobody knows how long the gap was.",
          "Nothing, if the downtime was planned. Else find out why."),
)
