"""One attempt to deliver, and what its answer means for the delivery and for the target."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiohttp import BytesPayload
from multidict import CIMultiDict
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

FRESH = 1_000
"""Milliseconds for which a signature, and the time that it holds, may wait to be sent."""


class Letter(NamedTuple):
    """A delivery, signed and ready to be posted: what aiohttp would make of it is made."""

    row: Leased
    headers: Mapping[str, str]
    body: BytesPayload
    signed_at: int


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

    def sign(self, row: Leased) -> Letter:
        """Return ``row`` ready to be posted. Signing many one after the other costs a third."""
        now = self._now()
        headers = self._signer.headers(row.webhook_id, row.payload, now)
        return Letter(row, CIMultiDict(headers), BytesPayload(row.payload.encode()), now)

    async def send(self, letter: Letter) -> Attempt:
        """Make the attempt that was leased. The body of the answer is not read."""
        if self._now() - letter.signed_at > FRESH:
            letter = self.sign(letter.row)
        begun = self._monotonic()
        answer: Answer | CallError
        try:
            answer = await self._transport.send(
                "deliver",
                "POST",
                self._url,
                headers=letter.headers,
                data=letter.body,
                with_body=False,
            )
        except CallError as error:
            answer = error
        took = round((self._monotonic() - begun) * 1000)
        return self._judge(letter.row, answer, took)

    def _judge(self, row: Leased, answer: Answer | CallError, took: int) -> Attempt:
        status = answer.http_status
        if isinstance(answer, CallError):
            self._breaker.failed(row.process_id, answer.code)
            return self._retry(row, answer.code, answer, took)
        if answer.succeeded:
            self._breaker.succeeded(row.process_id)
            return Attempt(row, DeliveryState.DELIVERED, http_status=status, duration=took)
        error = f"http_{status}"
        if answer.http_status >= 500:
            self._breaker.failed(row.process_id, error)
        else:  # whatever it says, the application is there
            self._breaker.succeeded(row.process_id)
        if status == GONE:
            return Attempt(row, DeliveryState.DEAD, error, http_status=status, duration=took)
        return self._retry(row, error, answer, took)

    def _retry(self, row: Leased, error: str, answer: Answer | CallError, took: int) -> Attempt:
        status = answer.http_status
        now = self._now()
        if now >= row.pending_since + self._patience.give_up_after:
            return Attempt(row, DeliveryState.DEAD, error, http_status=status, duration=took)
        delay = self._patience.backoff.delay(row.attempt, row.webhook_id)
        if answer.retry_after is not None:
            delay = max(delay, round(answer.retry_after * 1000))
        return Attempt(row, DeliveryState.PENDING, error, now + delay, status, took)

    def tell(self, attempt: Attempt) -> None:
        """Log what became of ``attempt``. Call it after the commit: a line tells what is true."""
        row = attempt.row
        told: dict[str, Any] = {
            "delivery_id": row.webhook_id,
            "process_id": row.process_id,
            "type": row.type,
            "attempt": row.attempt,
            "http_status": attempt.http_status,
            "duration_ms": attempt.duration,
        }
        match attempt.state:
            case DeliveryState.DELIVERED:
                self._log.info("delivery_succeeded", **told)
            case DeliveryState.DEAD:
                self._log.error("delivery_dead", error=attempt.error, **told)
            case DeliveryState.PENDING:
                wait = round(((attempt.next_attempt_at or 0) - self._now()) / 1000, 1)
                self._log.warning("delivery_failed", error=attempt.error, retry_in_s=wait, **told)
