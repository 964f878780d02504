"""The life of a process."""

from typing import Final

from reconciler.telemetry.events import PROCESS, Event

# fmt: off
PROCESSES: Final[tuple[Event, ...]] = (
    Event("process_registered", "info", (*PROCESS, "provider", "by"),
          "A process is on the ledger and its callback is awaited.",
          "Nothing."),
    Event("process_updated", "info", (*PROCESS, "by", "field", "was", "now"),
          "A second registration changed what is known of a process.",
          "Nothing."),
    Event("process_overdue", "info", (*PROCESS, "provider"),
          "The callback did not come in time. It is asked for again.",
          "Nothing. Very many at once: see `callback_path_suspect`."),
    Event("process_settled", "info", (*PROCESS, "status", "was", "by"),
          "The final status is known and confirmed. `by` is the source of it.",
          "Nothing."),
    Event("process_corrected", "warning", (*PROCESS, "status", "was", "by"),
          "A settled process has another status now. Your application is told "
          "(`process.corrected`).",
          "Make sure that your application acts on corrections."),
    Event("process_gone", "warning", (*PROCESS, "claimed_status"),
          "Assure does not know the process any more (404 twice).",
          "Nothing, if it was deleted on purpose or by retention. Else ask who deleted it."),
    Event("process_expired", "warning", (*PROCESS, "claimed_status"),
          "No final status came until `give_up_after`. No more calls are made for it.",
          "Usually an end user who never finished. `reconciler recheck` looks once more."),
    Event("status_conflict", "warning", (*PROCESS, "status", "claimed_status", "source"),
          "Two sources name different final statuses. Get process decides.",
          "One: nothing. Several: somebody may be sending forged callbacks."),
    Event("status_unknown", "warning", (*PROCESS, "status", "source"),
          "A status is in neither list of the configuration.",
          "Find out what it means and add it to `assure.final_statuses` or "
          "`assure.pending_statuses` (any letter case). Until then Get process does not settle "
          "it without a `finalResult`, or an hour of the same answer."),
    Event("verification_owed", "info", (*PROCESS, "status", "claimed_status"),
          "A callback contradicts a process that has ended. Get process is asked.",
          "Nothing. `verification_done` or `process_corrected` follows."),
    Event("verification_done", "info", (*PROCESS, "result"),
          "The check of a process that has ended brought nothing new.",
          "Nothing."),
    Event("result_dropped", "info", (*PROCESS, "attempt"),
          "The result of a call came after its lease had ended; somebody else had taken over.",
          "Nothing once. Often: calls take longer than four times `assure.timeout`; is the "
          "machine overloaded?"),
)
