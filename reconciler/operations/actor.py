"""The actor of a change: the admin API, or a user of the command line."""

from collections.abc import Mapping
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from reconciler.config import InForce
from reconciler.ledger import Rules
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.actions import Action, Note
from reconciler.store.open import Store

_NOTHING: Mapping[str, object] = {}


@dataclass(frozen=True, slots=True)
class Actor:
    """Changes the ledger under a name, by the rules in force."""

    name: str
    """Stands in timelines and in the log: ``api``, or the name of a user."""
    store: Store
    current: Current[InForce]
    clock: Clock
    log: FilteringBoundLogger
    is_daemon: bool = False
    """Whether ``log`` is the daemon's; else a daemon logs the actions as well."""

    @property
    def rules(self) -> Rules:
        """The ledger's rules that are in force now."""
        return self.current.value.rules

    def log_action(self, action: str, **fields: object) -> None:
        """Log that this actor has done ``action``. Call it after the commit."""
        self.log.info("operator_action", action=action, by=self.name, **fields)

    def note(
        self, action: str, fields: Mapping[str, object] = _NOTHING, *, counting: str | None = None
    ) -> Note:
        """Return ``action`` as the store writes it with the change.

        ``counting``: the field that tells of how many, where one row tells of all.
        """
        told = {name: value for name, value in fields.items() if value is not None}
        done = Action(self.clock.now(), self.name, action, fields=told)
        return Note(done, is_logged=self.is_daemon, counting=counting)

    async def record_action(self, action: str, **fields: object) -> None:
        """Remember and log an action that has changed nothing in the store."""
        note = self.note(action, fields)
        await self.store.actions.write([note.action], is_logged=note.is_logged)
        self.log_action(action, **fields)
