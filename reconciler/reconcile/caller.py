"""Makes the call about a claimed process, and turns its result into an observation."""

from structlog.typing import FilteringBoundLogger

from reconciler.assure import (
    AssureClient,
    NotFound,
    Refused,
    Throttled,
    TokenRefused,
    TokenUnavailable,
)
from reconciler.ledger import (
    CallFailed,
    CallRefused,
    CallThrottled,
    Fetched,
    NotifyAccepted,
    Observation,
    ProcessNotFound,
    TrackedProcess,
    Verb,
)
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.outbound.errors import CallError
from reconciler.reconcile.misconfiguration import AssurePath

DEFAULT_PAUSE = 5.0
"""Seconds to wait after a 429 that does not say how long."""

LONGEST_TOKEN_PAUSE = 60.0
"""Seconds to wait at most where a 5xx of the token endpoint says how long."""

SHORTEST_PAUSE = 1.0
"""Seconds to wait at least, also where ``Retry-After`` is 0 or a date that has passed."""


class Caller:
    """Calls Assure and tells breaker and budget what the answer means for all other calls."""

    def __init__(
        self,
        client: AssureClient,
        *,
        breaker: Breaker,
        budget: Budget,
        path: AssurePath,
        log: FilteringBoundLogger,
    ) -> None:
        self._client = client
        self._breaker = breaker
        self._budget = budget
        self._path = path
        self._log = log
        self._tokens_failed = 0

    async def ensure_token(self) -> bool:
        """Have a token before units are taken and processes claimed; False if there is none."""
        try:
            await self._client.ensure_token()
        except CallError as error:
            self._without_token(error)
            return False
        return True

    async def call(self, process: TrackedProcess, until: float) -> Observation:
        """Make the call that the lease of ``process`` is for. Never raises but for a bug.

        It does not leave once the monotonic clock shows ``until``.
        """
        held = process.lease
        assert held is not None
        attempt = process.attempt
        try:
            if held.verb is Verb.NOTIFY:
                await self._client.notify(process.dossier_id, process.process_id, until=until)
                self._breaker.succeeded(process.process_id)
                return NotifyAccepted(attempt)
            seen = await self._client.get_process(
                process.dossier_id, process.process_id, until=until
            )
        except CallError as error:
            return self._failure(process, held.verb, error)
        self._breaker.succeeded(process.process_id)
        self._path.proven()
        return Fetched(
            attempt,
            seen.status,
            seen.has_final_result,
            seen.provider,
            seen.process_type,
            seen.created_at,
        )

    def _failure(self, process: TrackedProcess, verb: Verb, error: CallError) -> Observation:
        attempt, process_id = process.attempt, process.process_id
        match error:
            case Throttled():
                self._throttled(error)
                return CallThrottled(attempt, was_made=error.http_status == 429)
            case TokenRefused() | TokenUnavailable():
                self._without_token(error)
                return CallThrottled(attempt)
            case NotFound() if verb is Verb.FETCH:
                self._breaker.succeeded(process_id)
                self._path.not_found()
                return ProcessNotFound(attempt, self._path.is_proven)
            case NotFound() | Refused():
                self._breaker.succeeded(process_id)
                return CallRefused(attempt, error.code)
            case _:  # a Retry-After of a 5xx is about this process; others may fare better
                self._breaker.failed(process_id, error.code)
                return CallFailed(attempt, error.code, round((error.retry_after or 0) * 1000))

    def _without_token(self, error: CallError) -> None:
        """Tell the breaker of a failed token. Each counts as another process: none is at fault."""
        match error:
            case Throttled():
                self._throttled(error)
                return
            case TokenRefused():
                about = {"http_status": error.http_status, "error": error.word}
                self._breaker.trip("token_refused", **about)
                return
        if error.retry_after:
            self._pause(min(error.retry_after, LONGEST_TOKEN_PAUSE))
        if self._breaker.state == "closed":
            self._tokens_failed += 1
            self._breaker.failed(f"token {self._tokens_failed}", error.code)
        else:
            self._breaker.trip(error.code)

    def _throttled(self, error: CallError) -> None:
        if error.http_status == 429:
            wait = DEFAULT_PAUSE if error.retry_after is None else error.retry_after
            self._pause(max(wait, SHORTEST_PAUSE))
        self._breaker.probe_abandoned()

    def _pause(self, seconds: float) -> None:
        if not self._budget.paused_for:  # logged once for all calls that were out together
            self._log.warning("assure_throttled", wait_s=round(seconds, 1))
        self._budget.pause(seconds)
