"""Logs what has happened to processes: one line for each timeline entry."""

from collections.abc import Iterable

from structlog.typing import FilteringBoundLogger

from reconciler.ledger import Outcome
from reconciler.store.apply import Observed
from reconciler.telemetry.event_catalogue import level_of


def announce(log: FilteringBoundLogger, changes: Iterable[tuple[Observed, Outcome]]) -> None:
    """Log each entry under its own name, at the level that the catalogue gives it.

    Call it after the commit, so that a line is true.
    """
    for (process_id, observation), outcome in changes:
        process = outcome.process
        dossier_id = process.dossier_id if process else getattr(observation, "dossier_id", None)
        for entry in outcome.entries:
            log.log(
                level_of(entry.event),
                entry.event,
                process_id=process.process_id if process else process_id,
                dossier_id=dossier_id,
                **{name: value for name, value in entry.fields.items() if value is not None},
            )
