"""The store and the spool."""

from typing import Final

from reconciler.telemetry.events import Event

# fmt: off
STORE: Final[tuple[Event, ...]] = (
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
          "Remove the copy when the new version has worked for a while."),
    Event("store_unavailable", "error", ("reason",),
          "The store takes nothing. Callbacks go to the spool and are still answered 200; "
          "nothing is swept or delivered meanwhile.",
          "Act now: is the disk full, PostgreSQL down, the network gone? The spool lives on this "
          "machine's disk alone."),
    Event("store_replaced", "error", ("reason",),
          "The file of the store, or one of the two beside it, was removed or replaced while the "
          "daemon had it open. Nothing more is written to it; callbacks go to the spool.",
          "Put the right file back: the one that was moved, or a backup. Then restart the daemon: "
          "it opens what is there, and drains the spool into it."),
    Event("store_recovered", "info", (),
          "The store answers again, and the spool is empty.",
          "Nothing."),
    Event("spool_drained", "info", ("count",),
          "Callbacks that waited in the spool are in the store.",
          "Nothing."),
    Event("spool_damaged", "warning", ("lines",),
          "`lines` lines of a spool file were torn or failed their checksum, and were skipped. A "
          "crash in the middle of a write leaves one, which was never answered 200.",
          "One line after a crash: nothing. More: check the disk; the processes concerned are "
          "found by the sweep all the same."),
    Event("spool_unusable", "error", ("path", "reason"),
          "A write to the spool, made as a trial, failed with `reason` (`EROFS`, `EACCES`, "
          "`ENOSPC`). Callbacks go to the store; while that takes none, they would be lost. Tried "
          "at start, with each reload and readiness check, and logged once.",
          "Repair it before it is needed: the rights of `store.spool`, its disk, and under systemd "
          "`ReadWritePaths=` (docs/install.md)."),
    Event("spool_usable", "info", ("path",),
          "The spool takes callbacks again.",
          "Nothing."),
    Event("spool_failed", "error", ("error",),
          "The spool could not be read or emptied. It is tried again.",
          "Check the disk and the rights of `store.spool`. Its callbacks stay there."),
)
