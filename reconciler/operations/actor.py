"""The actor of a change: the admin API, or a user of the command line."""

from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from reconciler.config import InForce
from reconciler.ledger import Rules
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
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

    @property
    def rules(self) -> Rules:
        """The ledger's rules that are in force now."""
        return self.current.value.rules

    def log_action(self, action: str, **fields: object) -> None:
        """Log that this actor has done ``action``. Call it after the commit."""
        self.log.info("operator_action", action=action, by=self.name, **fields)

    async def record_action(self, action: str, **fields: object) -> None:
        """Remember and log an action that concerns no single process."""
        await self.store.registry.record_action(action, self.name, self.clock.now())
        self.log_action(action, **fields)
