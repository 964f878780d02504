"""Logs what people did by the command line, which writes it to the store."""

from structlog.typing import FilteringBoundLogger

from reconciler.ledger import iso
from reconciler.runtime.bell import Bell
from reconciler.store.actions import Actions

MOST = 100
"""Actions in one transaction."""


class ActionLog:
    """Looks every two seconds for actions that nobody has logged."""

    name = "action_log"
    seconds = 2.0

    def __init__(self, actions: Actions, log: FilteringBoundLogger) -> None:
        self.bell = Bell(self.name)
        self._actions = actions
        self._log = log

    async def turn(self) -> bool:
        """Log the oldest ones; True where there may be more."""
        found = await self._actions.take_unlogged(MOST)
        for action in found:
            named = {} if action.process_id is None else {"process_id": action.process_id}
            self._log.info(
                "operator_action",
                action=action.name,
                by=action.by,
                at=iso(action.at),
                **named,
                **action.fields,
            )
        return len(found) == MOST
