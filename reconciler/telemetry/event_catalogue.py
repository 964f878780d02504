"""The catalogue of every log event. An entry stands in the table of its area, in ``events/``.

``python -m reconciler.telemetry.event_catalogue`` prints the table of docs/logs.md. Tests hold the
catalogue against the code and the table against the catalogue.
"""

import sys
from typing import Final

from reconciler.telemetry.events import RANK, Event
from reconciler.telemetry.events.callbacks import CALLBACKS
from reconciler.telemetry.events.calls import CALLS
from reconciler.telemetry.events.daemon import DAEMON
from reconciler.telemetry.events.deliveries import DELIVERIES
from reconciler.telemetry.events.processes import PROCESSES
from reconciler.telemetry.events.simulator import SIMULATOR
from reconciler.telemetry.events.store import STORE

CATALOGUE: Final[tuple[Event, ...]] = (
    *DAEMON,
    *STORE,
    *CALLBACKS,
    *PROCESSES,
    *CALLS,
    *DELIVERIES,
    *SIMULATOR,
)

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
