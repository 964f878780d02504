"""The log events, a table for each area; ``telemetry/event_catalogue.py`` joins the tables."""

from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["debug", "info", "warning", "error", "critical"]

RANK: Final[dict[str, int]] = {
    "debug": 10,
    "info": 20,
    "warning": 30,
    "error": 40,
    "critical": 50,
}
"""The numbers of the standard library's logging, which structlog uses too."""

PROCESS: Final = ("process_id", "dossier_id")
CALL: Final = (*PROCESS, "attempt")
BUG: Final = ("error", "cause", "detail", "where")
"""The fields that ``exc_info`` becomes."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: what it means, and what an operator does about it."""

    name: str
    level: Level | Literal["any"]
    """``any``: the line says at which."""
    fields: tuple[str, ...]
    """Beside timestamp, level and event. A field without a value may be absent."""
    meaning: str
    action: str
