"""Two misconfigurations that look like bad luck, and are said aloud."""

from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from reconciler.ledger import Outcome, SettledBy
from reconciler.runtime.clock import Clock

IN_A_ROW = 20
"""Processes settled by our own Get process, and no callback in between: a URL that is not
whitelisted looks exactly so."""

REPEAT = 60_000
"""Milliseconds between two warnings about the same suspicion."""


class CallbackPath:
    """Watches whether callbacks come at all."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._in_a_row = 0

    def came(self) -> None:
        """A callback has arrived: the path works."""
        self._in_a_row = 0

    def recorded(self, outcomes: Sequence[Outcome]) -> None:
        """Count what was settled without one; warn once until the next callback."""
        for outcome in outcomes:
            if not any(entry.event == "process_settled" for entry in outcome.entries):
                continue
            if outcome.process is None:
                continue
            if outcome.process.settled_by is not SettledBy.FETCH:
                self.came()  # to another daemon on this store
                continue
            self._in_a_row += 1
            if self._in_a_row == IN_A_ROW:
                self._log.warning("callback_path_suspect", settled_by_fetch=IN_A_ROW)


class AssurePath:
    """Watches whether Get process has ever answered 200 under the present URL."""

    def __init__(self, *, is_proven: bool, clock: Clock, log: FilteringBoundLogger) -> None:
        self.is_proven = is_proven
        self._clock = clock
        self._log = log
        self._warned_at: int | None = None

    def proven(self) -> None:
        """Get process has answered 200: from now on a 404 means what it says."""
        self.is_proven = True

    def not_found(self) -> None:
        """A 404 came. Before any 200 it says more about our URL than about the process."""
        now = self._clock.now()
        if self.is_proven or (self._warned_at is not None and now - self._warned_at < REPEAT):
            return
        self._warned_at = now
        self._log.warning("assure_path_suspect")
