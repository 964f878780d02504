"""The catalogue of every log event. To add one: an entry here, and the table printed anew.

``python -m reconciler.telemetry.catalogue`` prints the table of docs/logs.md. Tests hold the
catalogue against the code and the table against the catalogue.
"""

import sys
from typing import Final

from reconciler.telemetry.event import RANK, Event

_PROCESS = ("process_id", "dossier_id")
_CALL = (*_PROCESS, "attempt")
_BUG = ("error", "cause", "detail", "where")
"""What ``exc_info`` becomes."""

# A table is read by its lines: three or four of them an event.
# fmt: off
CATALOGUE: Final[tuple[Event, ...]] = (
    # The daemon itself
    Event("starting", "info", ("version", "config", "pid"),
          "The daemon begins. Nothing is open yet.",
          "Nothing. If no `ready` follows, the lines after this one say why."),
    Event("ready", "info", ("listener", "admin", "instance", "duration_ms"),
          "Both listeners accept, and a callback would be answered 200. The URLs hold the ports "
          "really bound.",
          "Nothing."),
    Event("config_reloaded", "info", ("changed", "needs_restart"),
          "SIGHUP came, and the configuration was read again. `changed` is in effect now; "
          "`needs_restart` stays as it was. Names only, no values.",
          "Nothing. For `needs_restart` restart the daemon: it stops without losing a callback."),
    Event("config_reload_failed", "error", ("problems", *_BUG),
          "SIGHUP came, and what was read cannot be used. Nothing of it was taken: the old "
          "configuration is in effect, whole.",
          "Mend what `problems` names (`reconciler check-config` tells the same) and send SIGHUP "
          "again. A restart before that would fail."),
    Event("stopping", "info", ("reason",),
          "The daemon was asked to end, or a part of it ended. It accepts nothing new and "
          "finishes what is in flight, for 30 s at most.",
          "Nothing, if you asked for it. Else look for `part_failed` just before."),
    Event("stopped", "info", ("duration_ms", "log_lines_dropped"),
          "All is flushed and closed.",
          "Nothing."),
    Event("stop_cut_short", "warning", ("part",),
          "A part was not done within the time for stopping and was cut off. What it was doing is "
          "done again at the next start.",
          "Nothing once. Often: the store or Assure answers very slowly."),
    Event("part_failed", "error", ("part", *_BUG),
          "A part without which the daemon cannot work has ended. The daemon stops; systemd "
          "starts it again. Nothing that was answered 200 is lost.",
          "Check that it came back (`ready`). If it repeats, keep this line: it names the bug."),
    Event("purged", "info",
          ("processes", "callbacks", "deliveries", "entries", "pages", "longest_ms"),
          "Housekeeping has removed what is past its time (`[retention]`) and given free pages of "
          "the file back. `longest_ms` is how long one of its transactions has held the writer at "
          "the most.",
          "Nothing. If `longest_ms` is often over 50: the disk is slow, and callbacks wait for "
          "it."),
    Event("watchdog_withheld", "error", ("loops",),
          "These loops have not ticked for long, so systemd gets no more pings. It kills and "
          "restarts the daemon when `WatchdogSec` is over. Nothing that was answered 200 is lost.",
          "Check that it came back (`ready`). If it repeats: a disk that hangs, or a bug of ours."),
    Event("setting_without_effect", "warning", ("key",),
          "SIGHUP came, and this setting has changed, but it cannot change at run time: it stays "
          "as it was until a restart.",
          "Restart the daemon (this loses nothing), or put the setting back."),
    Event("heartbeat_failed", "warning", ("error",),
          "The dead-man ping did not get through. Said once, until one does.",
          "Check `heartbeat.url` and the way there. The service behind it will raise its alarm."),
    Event("heartbeat_recovered", "info", (),
          "The dead-man ping gets through again.",
          "Nothing."),
    Event("certificate_expires", "warning", ("certificate", "days_left"),
          "The certificate of `listener.tls` ends in less than 21 days, or has ended (`days_left` "
          "below 0). Told at start, with each reload that changes it, and once a day. When it has "
          "ended, Assure will not connect, and no callback arrives.",
          "Find out why it was not renewed, renew it, and send SIGHUP."),
    Event("disk_low", "warning", ("place", "path", "free_mb"),
          "Less than a tenth of the disk and less than 1 GiB is free where the store or the spool "
          "is (`place`). Told when it begins and every hour.",
          "Make room before it is full. While it is full, callbacks are answered 503 unless the "
          "spool is on another disk."),
    Event("operator_action", "info",
          (*_PROCESS, "action", "by", "verb", "processes", "deliveries", "created", "known",
           "skipped"),
          "A person or a script changed something by the command line or the admin API.",
          "Nothing. It is the record of who did it."),
    Event("summary", "info",
          ("waiting", "reported", "overdue", "settled", "gone", "expired", "oldest_overdue_s",
           "oldest_reported_s", "last_callback_age_s", "callbacks", "settlements", "calls",
           "calls_per_second", "rejected_total", "breaker", "deliveries_pending",
           "deliveries_dead", "oldest_pending_s", "spooled", "log_lines_dropped", "store_free_mb",
           "spool_free_mb"),
          "Once a minute: how many processes are in each state, the age of the oldest, and what "
          "was done since the last summary.",
          "Nothing. If it stays away for three minutes, the daemon is dead or hangs. If "
          "`oldest_overdue_s` grows, look for `breaker_opened` and `fetch_failed`."),
    Event("clock_differs", "warning", ("offset_ms",),
          "This machine's clock differs from that of the PostgreSQL server by so much: it is "
          "behind where the number is positive. The server's is used, so nothing goes wrong; "
          "only the time stamps of the log are this machine's.",
          "Check NTP on both."),
    Event("clock_jumped_back", "warning", ("processes",),
          "The clock shows an earlier time than before. Waits are started again from the new "
          "time, so that nothing waits longer than its backoff.",
          "Check NTP on this machine (or on the PostgreSQL server, whose clock is used)."),
    Event("job_missed", "error", ("job",),
          "The scheduler could not start a job. It comes again at its next time; nothing is lost, "
          "for what is due stands in the store.",
          "Nothing once. If it repeats: restart the daemon, and keep this line for a bug report."),
    Event("job_failed", "error", ("job", "reason", *_BUG),
          "A repeated piece of work ended with an error. It runs again at its next time.",
          "Watch whether the next run succeeds. If not, keep this line for a bug report."),
    Event("library", "any", ("logger", "message", *_BUG),
          "A line of a library (aiohttp, SQLAlchemy, asyncio, ...), from a warning up; at level "
          "debug more. `logger` says whose.",
          "A warning: nothing, unless it repeats. An error: keep it for a bug report."),
    Event("log_lines_dropped", "warning", ("lines",),
          "Whoever reads stdout stood still, and so many log lines were lost. The work went on.",
          "Find out why the reader (journald, a pipe, a terminal) was slow."),
    Event("log_tap_failed", "error", _BUG,
          "A bug in a part that counts or watches log lines, such as the metrics. The line itself "
          "is logged. Told once for each such part.",
          "Keep this line for a bug report. Metrics may be too low until a restart."),

    # The store and the spool
    Event("store_opened", "info",
          ("path", "journal_mode", "synchronous", "sqlite_version", "wal_reset_bug",
           "server", "server_version", "synchronous_commit", "fsync", "full_page_writes"),
          "The store is open, with this durability: the first five fields of SQLite, the others of "
          "PostgreSQL. `wal_reset_bug` true: this SQLite is older than 3.51.3 and can damage a "
          "database when two processes checkpoint at once; here only the daemon does.",
          "`synchronous` must be `full` or `extra`, and no other field `UNSAFE`. Else nothing."),
    Event("store_migrated", "info", ("done",),
          "The store was created, or brought to this version; `done` says which, and where the "
          "copy made before is kept.",
          "Remove the copy when the new version has proved itself."),
    Event("store_unavailable", "error", ("reason",),
          "The store takes nothing. Callbacks go to the spool and are still answered 200; "
          "nothing is swept or delivered meanwhile.",
          "Act now: is the disk full, PostgreSQL down, the network gone? The spool lives on this "
          "machine's disk alone."),
    Event("store_recovered", "info", (),
          "The store answers again, and the spool is empty.",
          "Nothing."),
    Event("spool_drained", "info", ("count",),
          "Callbacks that waited in the spool are in the store.",
          "Nothing."),
    Event("spool_damaged", "warning", ("lines",),
          "So many lines of a spool file were torn or failed their checksum, and were skipped. A "
          "crash in the middle of a write leaves one, which was never answered 200.",
          "One line after a crash: nothing. More: check the disk; the processes concerned are "
          "found by the sweep all the same."),
    Event("spool_failed", "error", ("error",),
          "The spool could not be read or emptied. It is tried again.",
          "Check the disk and the rights of `store.spool`. What is in it stays there."),

    # Callbacks
    Event("callbacks_unauthenticated", "warning", (),
          "Neither `listener.authorization` nor `listener.allow_from` is set: anybody who "
          "reaches the listener can claim a status. Claims are still confirmed by Get process, "
          "and nothing unknown is adopted.",
          "Set `listener.authorization` to what your application passes as "
          "`authorizationHeader`."),
    Event("callback_received", "info", (*_PROCESS, "status", "receipt_id"),
          "A callback is durable and was answered 200. Its `status` is a claim, until "
          "`process_settled`.",
          "Nothing."),
    Event("callback_spooled", "info", (*_PROCESS, "status", "receipt_id"),
          "The store did not take a callback in time. It is durable in the spool and was answered "
          "200.",
          "See `store_unavailable`."),
    Event("callback_not_durable", "error", ("count", "error"),
          "Neither the store nor the spool took these callbacks. They were answered 503, and "
          "Assure does not send them again. The sweep finds their processes.",
          "Act now: most likely the disk is full or gone."),
    Event("callback_not_applied", "error", ("process_id", "receipt_id", "error"),
          "A callback is stored but could not be applied to its process. It is tried again at the "
          "next sweep and at the next start.",
          "If it repeats for the same `receipt_id`, keep this line for a bug report."),
    Event("request_failed", "error", ("path", *_BUG),
          "A bug while a request was answered, by the listener or the admin API. It got 500.",
          "Keep this line for a bug report. If it was a callback, the sweep finds its process."),
    Event("callback_rejected", "warning", ("reason", "http_status", "remote", "total"),
          "A request to the listener was refused and nothing of it kept. When there are many, "
          "`total` counts those that are not logged.",
          "Many with 401: the secret here and the `authorizationHeader` of your application "
          "differ; callbacks are being lost, mend it now. 400 and 404: a wrong "
          "`notificationUrl`, or a stranger."),
    Event("callback_applied", "debug", (*_PROCESS, "status"),
          "A stored callback was applied to its process.",
          "Nothing."),
    Event("callback_unmatched", "warning", (*_PROCESS, "status"),
          "A callback for a process that nobody has registered was kept. It is applied when the "
          "registration comes.",
          "Find out why your application does not register its processes, or does so late."),
    Event("callback_mismatch", "warning", (*_PROCESS, "status"),
          "A callback names a known process under another dossier. It is kept and never applied.",
          "A mix-up in your application or a forged callback: compare the dossiers "
          "(`reconciler show`)."),
    Event("callback_poisoned", "error", ("receipt_id", "error"),
          "The store takes other callbacks but not this one. It is set aside.",
          "Keep this line for a bug report. The process is found by the sweep all the same."),
    Event("callback_path_suspect", "warning", ("settled_by_fetch",),
          "So many processes in a row were settled by our own Get process, and no callback came in "
          "between: the way to the listener may be broken. Statuses still come, late.",
          "Check the whitelisting of the `notificationUrl`, the load balancer, TLS and the "
          "firewall."),

    # The life of a process
    Event("process_registered", "info", (*_PROCESS, "provider", "by"),
          "A process is on the ledger and its callback is awaited.",
          "Nothing."),
    Event("process_updated", "info", (*_PROCESS, "by", "field", "was", "now"),
          "A second registration changed what is known of a process.",
          "Nothing."),
    Event("process_overdue", "info", (*_PROCESS, "provider"),
          "The callback did not come in time. It is asked for again.",
          "Nothing. Very many at once: see `callback_path_suspect`."),
    Event("process_settled", "info", (*_PROCESS, "status", "was", "by"),
          "The final status is known and confirmed. `by` says what brought it.",
          "Nothing."),
    Event("process_corrected", "warning", (*_PROCESS, "status", "was", "by"),
          "A settled process has another status by now. Your application is told "
          "(`process.corrected`).",
          "Make sure that your application acts on corrections."),
    Event("process_gone", "warning", (*_PROCESS, "claimed_status"),
          "Assure does not know the process any more (404 twice).",
          "Nothing, if it was deleted on purpose or by retention. Else ask who deleted it."),
    Event("process_expired", "warning", (*_PROCESS, "claimed_status"),
          "No final status until `give_up_after`. Nobody looks any more.",
          "Usually an end user who never finished. `reconciler recheck` looks once more."),
    Event("status_conflict", "warning", (*_PROCESS, "status", "claimed_status", "source"),
          "Two sources name different final statuses. Get process decides.",
          "One: nothing. Several: somebody may be sending forged callbacks."),
    Event("status_unknown", "warning", (*_PROCESS, "status", "source"),
          "A status that is in neither list of the configuration.",
          "Find out what it means and add it to `assure.final_statuses` or "
          "`assure.pending_statuses`."),
    Event("verification_owed", "info", (*_PROCESS, "status", "claimed_status"),
          "A callback contradicts a process that has ended. Get process is asked.",
          "Nothing. `verification_done` or `process_corrected` follows."),
    Event("verification_done", "info", (*_PROCESS, "result"),
          "The check of a process that has ended brought nothing new.",
          "Nothing."),
    Event("result_dropped", "info", (*_PROCESS, "attempt"),
          "The result of a call came after its lease had ended; somebody else had taken over.",
          "Nothing once. Often: calls take longer than four times `assure.timeout`; is the "
          "machine overloaded?"),

    # Calls to Assure
    Event("notify_requested", "info", _CALL,
          "Assure accepted to send the callback again.",
          "Nothing."),
    Event("notify_refused", "info", (*_CALL, "error"),
          "Assure answered Notify with a 4xx, as it may for a process that is not finished. Get "
          "process is next.",
          "Nothing. If every Notify gets 404: check `assure.notify_path`."),
    Event("notify_failed", "warning", (*_CALL, "error"),
          "Notify did not get through. It is tried again.",
          "Nothing, unless `breaker_opened` follows."),
    Event("status_fetched", "info", (*_CALL, "status"),
          "Get process told the status.",
          "Nothing."),
    Event("fetch_refused", "info", (*_CALL, "error"),
          "Assure answered Get process with a 4xx that is not a fault of the connection.",
          "Several: check `assure.process_path` and the client's permissions."),
    Event("fetch_failed", "warning", (*_CALL, "error"),
          "Get process did not get through. It is tried again.",
          "Nothing, unless `breaker_opened` follows."),
    Event("outbound_call", "debug", ("verb", "http_status", "error", "duration_ms"),
          "One HTTP call of ours, as it ended; a delivery has lines of its own.",
          "Nothing."),
    Event("assure_throttled", "warning", ("wait_s",),
          "Assure answered 429, or 5xx with Retry-After. All calls wait that long; a 429 spends no "
          "attempt.",
          "If it repeats: lower `assure.requests_per_second`, or ask for a higher limit."),
    Event("share_changed", "info", ("instances", "calls_per_second", "wait_s"),
          "So many daemons are on this PostgreSQL now, and this one may make so many calls a "
          "second, `wait_s` seconds from now. The rate is divided by all whose row is younger than "
          "15 s; who comes to others is silent until they know of it.",
          "Nothing. More `instances` than daemons for longer than 15 s: look who else uses this "
          "database."),
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
          "`process_path`. Nothing is taken as gone.",
          "Check both settings: most likely one is wrong."),
    Event("breaker_opened", "warning", ("reason", "probe_in_s"),
          "Calls to Assure fail one after another: none is made but a probe now and then. "
          "Callbacks are still taken, but wait for their confirmation.",
          "`reason` says what: a refused token needs new credentials now; a fault of Assure "
          "passes, and what waited is caught up."),
    Event("breaker_closed", "info", ("open_for_s",),
          "A probe got through. Calls are made again.",
          "Nothing."),
    Event("breaker_probe_failed", "debug", ("reason", "probe_in_s"),
          "The probe failed too. The next comes after twice the wait, a minute at most.",
          "Nothing."),
    Event("call_crashed", "error", ("process_id", *_BUG),
          "A bug while Assure was called. It counts as a failed call and is tried again.",
          "Keep this line for a bug report."),
    Event("result_not_recorded", "error", ("process_id", *_BUG),
          "The store takes other results but not this one. The call is made again when its lease "
          "ends.",
          "If it repeats for the same process, keep this line for a bug report."),
    Event("downtime_detected", "warning", ("gap_s", "processes"),
          "No instance was alive in this gap, so callbacks may be lost. Each process that was "
          "waiting then gets one Get process.",
          "Nothing, if the downtime was planned. Else find out why."),

    # Telling your application
    Event("delivery_succeeded", "info",
          ("target", "delivery_id", "process_id", "type", "attempt", "http_status", "duration_ms"),
          "Your application took a result (2xx).",
          "Nothing."),
    Event("delivery_failed", "warning",
          ("target", "delivery_id", "process_id", "type", "attempt", "http_status", "error",
           "retry_in_s", "duration_ms"),
          "Your application did not take a result. It is tried again, ever more seldom.",
          "Check the application behind `delivery.url`."),
    Event("delivery_dead", "error",
          ("target", "delivery_id", "process_id", "type", "attempt", "http_status", "error",
           "duration_ms"),
          "A result was given up: after `delivery.give_up_after`, or because the application "
          "answered 410. It does not know this result.",
          "Mend the application, then `reconciler redeliver --dead`."),
    Event("delivery_crashed", "error", ("target", "delivery_id", *_BUG),
          "A delivery ended in a bug of ours. It is tried again later; the others go on.",
          "Keep this line for a bug report."),
    Event("part_restarted", "error", ("part", *_BUG),
          "A part that the daemon can do without for a while has ended. It is started again in "
          "5 s; callbacks are taken all the same.",
          "If it repeats, keep this line: it names the bug."),

    # Connections
    Event("connections_full", "warning", ("open", "error"),
          "As many connections are open as may be (or, with `error`, as the system allows). "
          "Further ones wait in the kernel until one ends.",
          "Is somebody holding connections open? Limit it at the load balancer. With `error`: "
          "raise LimitNOFILE."),
    Event("connection_failed", "debug", ("error",),
          "A client hung up at once, or its TLS handshake failed.",
          "Nothing. If callbacks stay away: does Assure trust the certificate?"),
    Event("connection_timeout", "debug", (),
          "A client opened a connection and sent no whole request in time. It was closed.",
          "Nothing."),

    # The simulator (development, demo, tests)
    Event("simulator_started", "info", ("base_url",),
          "The stand-in for Assure accepts.",
          "Nothing. It must not run beside a daemon in production."),
    Event("simulator_stopped", "info", (),
          "The stand-in for Assure has ended.",
          "Nothing."),
    Event("simulator_call", "debug", ("kind", "process_id", "http_status"),
          "The simulator answered a call.",
          "Nothing."),
    Event("simulator_callback_sent", "debug", ("process_id", "http_status"),
          "The simulator sent a callback, and got this answer.",
          "Nothing."),
    Event("simulator_callback_failed", "debug", ("process_id", "error"),
          "The simulator could not send a callback.",
          "Nothing."),
)
# fmt: on

_LEVELS: Final[dict[str, int]] = {
    event.name: RANK[event.level] for event in CATALOGUE if event.level != "any"
}


def level_of(name: str) -> int:
    """Return the level of an event as a number, for a line whose name is data: a timeline entry's.

    An unknown name gets the level of info: the log must not fail what has been done already.
    """
    return _LEVELS.get(name, RANK["info"])


def table() -> str:
    """Return the catalogue as a Markdown table, one event a line, without a final newline."""
    rows = ["| event | level | fields | meaning | what to do |", "|---|---|---|---|---|"]
    for event in CATALOGUE:
        fields = ", ".join(f"`{field}`" for field in event.fields)
        rows.append(
            f"| `{event.name}` | {event.level} | {fields} | {event.meaning} | {event.action} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    sys.stdout.write(f"{table()}\n")
