"""Makes one attempt to deliver, and decides what its answer means for delivery and breaker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from structlog.typing import FilteringBoundLogger
from yarl import URL

from reconciler.delivery.signing import Signer
from reconciler.ledger import Backoff
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.errors import CallError
from reconciler.outbound.transport import Response, Transport
from reconciler.runtime.clock import Clock
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.outbox import Attempt, Leased

GONE = 410
"""The receiver says that this endpoint has gone: no retry will help."""

FRESH = 1_000
"""Milliseconds for which a signature, and the time that it holds, may wait to be sent."""

_DELIVERED = DeliveryState.DELIVERED


class SignedRequest(NamedTuple):
    """A delivery with its headers and body, ready to be posted."""

    row: Leased
    headers: Mapping[str, str]
    body: bytes
    signed_at: int


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Says when a failed delivery is tried again, and when it is given up. Durations in ms."""

    backoff: Backoff
    give_up_after: int


class Sender:
    """Posts deliveries to one URL."""

    def __init__(
        self,
        url: str,
        transport: Transport,
        signer: Signer,
        *,
        retry: RetryPolicy,
        breaker: Breaker,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self._url = URL(url)
        self._transport = transport
        self._signer = signer
        self._retry_policy = retry
        self._breaker = breaker
        self._clock = clock
        self._log = log

    def sign(self, row: Leased, now: int) -> SignedRequest:
        """Return ``row`` ready to be posted at ``now``."""
        headers = self._signer.headers(row.webhook_id, row.payload, now)
        return SignedRequest(row, headers, row.payload.encode(), now)

    async def send(self, request: SignedRequest) -> Attempt:
        """Make the attempt that was leased. The body of the answer is not read."""
        now = self._clock.now()
        if not 0 <= now - request.signed_at <= FRESH:
            request = self.sign(request.row, now)
        row = request.row
        try:
            answer = await self._transport.send(
                None,
                "POST",
                self._url,
                headers=request.headers,
                data=request.body,
            )
        except CallError as error:
            self._breaker.failed(row.process_id, error.code)
            return self._retry(row, error.code, error)
        if answer.succeeded:
            self._breaker.succeeded(row.process_id)
            return Attempt(row, _DELIVERED, None, None, answer.http_status, answer.duration)
        return self._refused(row, answer)

    def _refused(self, row: Leased, answer: Response) -> Attempt:
        status = answer.http_status
        error = f"http_{status}"
        if status >= 500:
            self._breaker.failed(row.process_id, error)
        else:  # the application is there, whatever it answers
            self._breaker.succeeded(row.process_id)
        if status == GONE:
            return Attempt(row, DeliveryState.DEAD, error, None, status, answer.duration)
        return self._retry(row, error, answer)

    def _retry(self, row: Leased, error: str, answer: Response | CallError) -> Attempt:
        status, took = answer.http_status, answer.duration
        now = self._clock.now()
        if now >= row.pending_since + self._retry_policy.give_up_after:
            return Attempt(row, DeliveryState.DEAD, error, None, status, took)
        delay = self._retry_policy.backoff.delay(row.attempt, row.webhook_id)
        if answer.retry_after is not None:
            delay = max(delay, round(answer.retry_after * 1000))
        return Attempt(row, DeliveryState.PENDING, error, now + delay, status, took, now)

    def announce(self, attempts: Sequence[Attempt]) -> None:
        """Log what became of ``attempts``. Call it after the commit, when it is true."""
        for attempt in attempts:
            if attempt.state is _DELIVERED:
                self._announce_delivered(attempt)
            else:
                self._announce_failed(attempt)

    def _announce_delivered(self, attempt: Attempt) -> None:
        row = attempt.row
        self._log.info(
            "delivery_succeeded",
            delivery_id=row.webhook_id,
            process_id=row.process_id,
            type=row.type,
            attempt=row.attempt,
            http_status=attempt.http_status,
            duration_ms=attempt.duration,
        )

    def _announce_failed(self, attempt: Attempt) -> None:
        row = attempt.row
        fields: dict[str, Any] = {
            "error": attempt.error,
            "delivery_id": row.webhook_id,
            "process_id": row.process_id,
            "type": row.type,
            "attempt": row.attempt,
            "http_status": attempt.http_status,
            "duration_ms": attempt.duration,
        }
        if attempt.state is DeliveryState.DEAD:
            self._log.error("delivery_dead", **fields)
        else:
            wait = round(((attempt.next_attempt_at or 0) - self._clock.now()) / 1000, 1)
            self._log.warning("delivery_failed", retry_in_s=wait, **fields)
