"""Detects two misconfigurations that look like bad luck, and warns."""

from collections.abc import Mapping
from typing import Any

from structlog.typing import FilteringBoundLogger

from reconciler.ledger import SettledBy
from reconciler.runtime.clock import Clock

IN_A_ROW = 20
"""Processes settled by Get process with no callback in between. A notification URL that
Assure has not whitelisted looks the same."""

REPEAT = 60_000
"""Milliseconds between two warnings about the path of Get process."""


class CallbackPath:
    """Counts from the log whether callbacks arrive at all."""

    EVENTS = ("callback_received", "process_settled")
    """The events that it counts."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._in_a_row = 0

    def note(self, _level: str, event: str | None, fields: Mapping[str, Any]) -> None:
        """Count a log event; warn once until the next callback."""
        if event == "callback_received":
            self._in_a_row = 0
        elif event == "process_settled":
            if fields.get("by") == SettledBy.FETCH:
                self._settled_by_fetch()
            else:  # another daemon on this store has had the callback
                self._in_a_row = 0

    def _settled_by_fetch(self) -> None:
        self._in_a_row += 1
        if self._in_a_row == IN_A_ROW:
            self._log.warning("callback_path_suspect", settled_by_fetch=IN_A_ROW)


class AssurePath:
    """Knows whether Get process has ever answered 200 under the present URL."""

    def __init__(self, *, is_proven: bool, clock: Clock, log: FilteringBoundLogger) -> None:
        self.is_proven = is_proven
        self._clock = clock
        self._log = log
        self._warned_at: int | None = None

    def proven(self) -> None:
        """Take it that Get process has answered 200: from now on a 404 means what it says."""
        self.is_proven = True

    def not_found(self) -> None:
        """Warn of a 404 that came before any 200: it says more about the URL than the process."""
        now = self._clock.now()
        if self.is_proven or (self._warned_at is not None and 0 <= now - self._warned_at < REPEAT):
            return
        self._warned_at = now
        self._log.warning("assure_path_suspect")
