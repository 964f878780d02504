"""The actor of a change: the admin API, or a user of the command line."""

from collections.abc import Sequence
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from reconciler.config import InForce
from reconciler.ledger import Rules
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.actions import Action
from reconciler.store.open import Store


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

    async def record(
        self, action: str, process_ids: Sequence[str | None], **fields: object
    ) -> None:
        """Remember ``action``, once for each process; None: for several, or for none."""
        told = {name: value for name, value in fields.items() if value is not None}
        now = self.clock.now()
        done = [Action(now, self.name, action, each, told) for each in process_ids]
        await self.store.actions.write(done, is_logged=self.is_daemon)

    async def record_action(self, action: str, **fields: object) -> None:
        """Remember and log an action that concerns no single process."""
        await self.record(action, (None,), **fields)
        self.log_action(action, **fields)
