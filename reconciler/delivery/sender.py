"""One attempt to deliver, and what its answer means for the delivery and for the target."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from structlog.typing import FilteringBoundLogger
from yarl import URL

from reconciler.delivery.signing import Signer
from reconciler.ledger import Backoff
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.errors import CallError
from reconciler.outbound.transport import Answer, Transport
from reconciler.store.outbox import Attempt, DeliveryState, Leased

GONE = 410
"""The receiver says that this endpoint is no more: no retry will help."""


@dataclass(frozen=True, slots=True)
class Patience:
    """When a failed delivery is tried again, and when it is given up. Durations in ms."""

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
        patience: Patience,
        breaker: Breaker,
        now: Callable[[], int],
        monotonic: Callable[[], float],
        log: FilteringBoundLogger,
    ) -> None:
        self._url = URL(url)
        self._transport = transport
        self._signer = signer
        self._patience = patience
        self._breaker = breaker
        self._now = now
        self._monotonic = monotonic
        self._log = log

    async def send(self, row: Leased) -> Attempt:
        """Make the attempt that ``row`` was leased for. The body of the answer is not read."""
        headers = self._signer.headers(row.webhook_id, row.payload, self._now())
        begun = self._monotonic()
        answer: Answer | CallError
        try:
            answer = await self._transport.send(
                "deliver",
                "POST",
                self._url,
                headers=headers,
                data=row.payload.encode(),
                with_body=False,
            )
        except CallError as error:
            answer = error
        took = round((self._monotonic() - begun) * 1000)
        attempt = self._judge(row, answer)
        self._tell(attempt, answer.http_status, took)
        return attempt

    def _judge(self, row: Leased, answer: Answer | CallError) -> Attempt:
        if isinstance(answer, CallError):
            self._breaker.failed(row.process_id, answer.code)
            return self._retry(row, answer.code, answer.retry_after)
        error = f"http_{answer.http_status}"
        if answer.http_status >= 500:
            self._breaker.failed(row.process_id, error)
        else:  # whatever it says, the application is there
            self._breaker.succeeded(row.process_id)
        if answer.succeeded:
            return Attempt(row, DeliveryState.DELIVERED)
        if answer.http_status == GONE:
            return Attempt(row, DeliveryState.DEAD, error)
        return self._retry(row, error, answer.retry_after)

    def _retry(self, row: Leased, error: str, retry_after: float | None) -> Attempt:
        now = self._now()
        if now >= row.pending_since + self._patience.give_up_after:
            return Attempt(row, DeliveryState.DEAD, error)
        delay = self._patience.backoff.delay(row.attempt, row.webhook_id)
        if retry_after is not None:
            delay = max(delay, round(retry_after * 1000))
        return Attempt(row, DeliveryState.PENDING, error, now + delay)

    def _tell(self, attempt: Attempt, http_status: int | None, took: int) -> None:
        row = attempt.row
        told: dict[str, Any] = {
            "delivery_id": row.webhook_id,
            "process_id": row.process_id,
            "type": row.type,
            "attempt": row.attempt,
            "http_status": http_status,
            "duration_ms": took,
        }
        match attempt.state:
            case DeliveryState.DELIVERED:
                self._log.info("delivery_succeeded", **told)
            case DeliveryState.DEAD:
                self._log.error("delivery_dead", error=attempt.error, **told)
            case DeliveryState.PENDING:
                wait = round(((attempt.next_attempt_at or 0) - self._now()) / 1000, 1)
                self._log.warning("delivery_failed", error=attempt.error, retry_in_s=wait, **told)
