"""Stops all calls while the target as a whole does not answer (circuit breaker).

It opens after failures in a row over *different* processes, so that one broken process cannot
stop the work on all others, or at once when the token is refused. While it is open one probe at
a time may go: first after a second, then after twice the wait of the last one, up to a minute.

The reasons: docs/decisions/016.
"""

from typing import Literal

from structlog.typing import FilteringBoundLogger

from reconciler.runtime.clock import Clock


class Breaker:
    """Counts failures in a row, and says whether the next call may go. Durations are seconds."""

    def __init__(
        self,
        *,
        clock: Clock,
        log: FilteringBoundLogger,
        threshold: int = 5,
        first_probe: float = 1.0,
        longest_probe: float = 60.0,
    ) -> None:
        self._threshold = threshold
        self._first_probe = first_probe
        self._longest_probe = longest_probe
        self._clock = clock
        self._log = log
        self.state: Literal["closed", "open", "probing"] = "closed"
        self.last_probe: str | None = None
        """The process of the last probe that failed; the next probe should take another one."""
        self._failed_in_a_row: set[str] = set()
        self._probe: str | None = None
        self._wait = first_probe
        self._probe_at = 0.0
        self._opened_at = 0.0

    def allowance(self) -> int | None:
        """Return how many calls may start now: None for no limit, 1 for a probe, 0 for none."""
        if self.state == "closed":
            return None
        return int(self.state == "open" and self._clock.monotonic() >= self._probe_at)

    def seconds_to_probe(self) -> float:
        """Return the seconds until a probe may go.

        0 while closed. While a probe is out its result decides; then this is the present wait,
        as a time after which to look again.
        """
        if self.state == "closed":
            return 0.0
        if self.state == "probing":
            return self._wait
        return max(0.0, self._probe_at - self._clock.monotonic())

    def probe_started(self, process_id: str) -> None:
        """Record that the one call which ``allowance`` granted is on its way."""
        if self.state == "open":
            self.state = "probing"
            self._probe = process_id

    def probe_abandoned(self) -> None:
        """Record that the probe says nothing: 429, cancelled, or there was nothing to probe.

        The next may go after the same wait. Does nothing where no probe was out or due.
        """
        if self.state == "probing" or self.allowance() == 1:
            self._schedule_probe()

    def succeeded(self, process_id: str) -> None:
        """Record that a call was answered. Closes the breaker and forgets the failures."""
        self._failed_in_a_row.clear()
        if self.state == "closed":
            return
        self.state = "closed"
        self.last_probe = self._probe = None
        open_for = round(self._clock.monotonic() - self._opened_at, 3)
        self._log.info("breaker_closed", open_for_s=open_for)

    def failed(self, process_id: str, code: str) -> None:
        """Record that a call failed in a way that speaks against the target, not the process.

        Late failures of calls that began before the breaker opened change nothing.
        """
        if self.state == "closed":
            self._failed_in_a_row.add(process_id)
            if len(self._failed_in_a_row) >= self._threshold:
                self._open(code)
        elif self.state == "probing" and process_id == self._probe:
            self._probe_failed(code)

    def trip(self, code: str, **about: str | int | None) -> None:
        """Record that the token was refused: no call can succeed, so open at once.

        ``about`` says more than ``code`` in the log.

        The token is shared, so a refusal while a probe is out, or due and first in need of a
        token, is the probe's failure too.
        """
        if self.state == "closed":
            self._open(code, **about)
        elif self.state == "probing" or self.allowance() == 1:
            self._probe_failed(code, **about)

    def _open(self, reason: str, **about: str | int | None) -> None:
        self._opened_at = self._clock.monotonic()
        self._wait = self._first_probe
        self._schedule_probe()
        self._log.warning("breaker_opened", reason=reason, probe_in_s=self._wait, **about)

    def _probe_failed(self, reason: str, **about: str | int | None) -> None:
        self.last_probe = self._probe or self.last_probe
        self._wait = min(self._wait * 2, self._longest_probe)
        self._schedule_probe()
        self._log.debug("breaker_probe_failed", reason=reason, probe_in_s=self._wait, **about)

    def _schedule_probe(self) -> None:
        self.state = "open"
        self._probe = None
        self._probe_at = self._clock.monotonic() + self._wait
