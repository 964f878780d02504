"""The daemon itself: its start, its stop, its repeated work and its log."""

from typing import Final

from reconciler.telemetry.events import BUG, PROCESS, Event

# fmt: off
DAEMON: Final[tuple[Event, ...]] = (
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
    Event("config_reload_failed", "error", ("problems", *BUG),
          "SIGHUP came, but the configuration that was read cannot be used. Nothing of it was "
          "taken: the old one is in effect, whole.",
          "Fix what `problems` names (`reconciler check-config` shows the same) and send SIGHUP "
          "again. A restart before that would fail."),
    Event("secret_short", "warning", ("keys",),
          "The secrets under these keys have fewer than 8 characters: easy to guess, and not "
          "masked where they stand inside other text of this log. Said at the start and after a "
          "reload.",
          "Make longer ones, such as by `openssl rand -base64 32`."),
    Event("stopping", "info", ("reason",),
          "The daemon was asked to end, or a part of it ended. It accepts nothing new and "
          "finishes what is in flight, for 30 s at most.",
          "Nothing, if you asked for it. Else look for `part_failed` just before."),
    Event("stopped", "info", ("duration_ms", "log_lines_dropped"),
          "All is flushed and closed.",
          "Nothing."),
    Event("stop_cut_short", "warning", ("part",),
          "A part did not end within the time for stopping and was cut off. Its unfinished work is "
          "done again at the next start.",
          "Nothing once. Often: the store or Assure answers very slowly."),
    Event("part_failed", "error", ("part", *BUG),
          "A part without which the daemon cannot work has ended. The daemon stops; systemd "
          "starts it again. Nothing that was answered 200 is lost.",
          "Check that it came back (`ready`). If it repeats, keep this line: it names the bug."),
    Event("purged", "info",
          ("processes", "callbacks", "deliveries", "entries", "pages", "longest_ms"),
          "Housekeeping has removed old rows (`[retention]`) and given free pages of the file "
          "back. `longest_ms` is how long its longest transaction held the writer.",
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
          "The dead-man ping did not get through. Logged once, until one does.",
          "Check `heartbeat.url` and the way there. The service behind it will raise its alarm."),
    Event("heartbeat_recovered", "info", (),
          "The dead-man ping gets through again.",
          "Nothing."),
    Event("certificate_expires", "warning", ("certificate", "days_left"),
          "The certificate of `listener.tls` ends in less than 21 days, or has ended (`days_left` "
          "below 0). Logged at start, with each reload that changes it, and once a day. When it "
          "has ended, Assure will not connect, and no callback arrives.",
          "Find out why it was not renewed, renew it, and send SIGHUP."),
    Event("disk_low", "warning", ("place", "path", "free_mb"),
          "Less than a tenth of the disk and less than 1 GiB is free where the store or the spool "
          "is (`place`). Logged when it begins and every hour.",
          "Make room before it is full. While it is full, callbacks are answered 503 unless the "
          "spool is on another disk."),
    Event("admin_host_refused", "warning", ("host",),
          "The admin listener, which has no token, was asked under a DNS name that is not its own, "
          "and answered 403. It may be a page in somebody's browser that tries to reach it. Logged "
          "once a minute for each name.",
          "If `host` is a name of this daemon, add it to `admin.hosts`, or set `admin.token`. Else "
          "nothing."),
    Event("operator_action", "info",
          (*PROCESS, "action", "by", "at", "verb", "processes", "deliveries"),
          "A person or a script changed something by the command line or the admin API. An "
          "action of a command is logged within seconds, or when the daemon starts; `at` tells "
          "when it was done. A long one, such as an import, is logged with what it has done so "
          "far, and again under the same `at` when there is more. `reconciler actions` shows the "
          "same.",
          "Nothing. It is the record of who did it."),
    Event("summary", "info",
          ("waiting", "reported", "overdue", "settled", "gone", "expired", "oldest_overdue_s",
           "oldest_reported_s", "last_callback_age_s", "callbacks", "settlements", "calls",
           "calls_per_second", "rejected_total", "breaker", "deliveries_pending",
           "deliveries_dead", "oldest_pending_s", "spooled", "log_lines_dropped", "store_free_mb",
           "spool_free_mb"),
          "Once a minute: how many processes are in each state, the age of the oldest, and the "
          "work done since the last summary.",
          "Nothing. If there is none for three minutes, the daemon is dead or hangs. If "
          "`oldest_overdue_s` grows, look for `breaker_opened` and `fetch_failed`."),
    Event("clock_differs", "warning", ("offset_ms",),
          "This machine's clock differs from that of the PostgreSQL server by `offset_ms`; a "
          "positive number means that it is behind. The server's clock is used, so nothing goes "
          "wrong; only the time stamps of the log are this machine's.",
          "Check NTP on both."),
    Event("clock_jumped_back", "warning", ("processes", "deliveries"),
          "The clock shows an earlier time than before. The waits of so many processes and "
          "deliveries are started again from the new time, so that nothing waits longer than its "
          "backoff.",
          "Check NTP on this machine (or on the PostgreSQL server, whose clock is used)."),
    Event("job_missed", "error", ("job",),
          "The scheduler could not start a job. The job runs at its next time; nothing is lost, "
          "because due times are in the store.",
          "Nothing once. If it repeats: restart the daemon, and keep this line for a bug report."),
    Event("job_failed", "error", ("job", "reason", *BUG),
          "A repeated job ended with an error. It runs again at its next time.",
          "Watch whether the next run succeeds. If not, keep this line for a bug report."),
    Event("library", "any", ("logger", "message", *BUG),
          "A line of a library (aiohttp, SQLAlchemy, asyncio, ...), from a warning up; at level "
          "debug more. `logger` says whose.",
          "A warning: nothing, unless it repeats. An error: keep it for a bug report."),
    Event("log_lines_dropped", "warning", ("lines",),
          "The reader of stdout stood still, and `lines` log lines were lost. The work went on.",
          "Find out why the reader (journald, a pipe, a terminal) was slow."),
    Event("log_tap_failed", "error", BUG,
          "A bug in a part that counts or watches log lines, such as the metrics. The line itself "
          "is logged. One such line is logged for each part.",
          "Keep this line for a bug report. Metrics may be too low until a restart."),
)
