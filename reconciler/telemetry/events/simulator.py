"""The simulator (development, demo, tests)."""

from typing import Final

from reconciler.telemetry.events import Event

# fmt: off
SIMULATOR: Final[tuple[Event, ...]] = (
    Event("simulator_started", "info", ("base_url",),
          "The stand-in for Assure accepts calls.",
          "Nothing. It must not run beside a daemon in production."),
    Event("simulator_stopped", "info", (),
          "The stand-in for Assure has ended.",
          "Nothing."),
    Event("simulator_call", "debug", ("kind", "process_id", "http_status"),
          "The simulator answered a call.",
          "Nothing."),
    Event("simulator_callback_sent", "debug", ("process_id", "http_status"),
          "The simulator sent a callback and got `http_status` back.",
          "Nothing."),
    Event("simulator_callback_failed", "debug", ("process_id", "error"),
          "The simulator could not send a callback.",
          "Nothing."),
)
