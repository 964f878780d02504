"""Deliveries of results to your application."""

from typing import Final

from reconciler.telemetry.events import BUG, Event

# fmt: off
DELIVERIES: Final[tuple[Event, ...]] = (
    Event("delivery_succeeded", "info",
          ("target", "delivery_id", "process_id", "type", "attempt", "http_status", "duration_ms"),
          "Your application took a result (2xx).",
          "Nothing."),
    Event("delivery_failed", "warning",
          ("target", "delivery_id", "process_id", "type", "attempt", "http_status", "error",
           "retry_in_s", "duration_ms"),
          "Your application did not take a result. It is tried again, at growing intervals.",
          "Check the application behind `delivery.url`."),
    Event("delivery_dead", "error",
          ("target", "delivery_id", "process_id", "type", "attempt", "http_status", "error",
           "duration_ms"),
          "A result was given up: after `delivery.give_up_after`, or because the application "
          "answered 410. It does not know this result.",
          "Fix the application, then `reconciler redeliver --dead`."),
    Event("delivery_crashed", "error", ("target", "delivery_id", *BUG),
          "A bug while a result was delivered. It is tried again later; the others go on.",
          "Keep this line for a bug report."),
    Event("part_restarted", "error", ("part", *BUG),
          "A part that the daemon can do without for a while has ended. It is started again in "
          "5 s; callbacks are taken all the same.",
          "If it repeats, keep this line: it names the bug."),
)
