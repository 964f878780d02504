"""The clients of Assure and of your application; a reload builds new ones and swaps them whole.

A call that has begun with an old client ends with it, and with its settings.
"""

from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from reconciler.assure import Endpoint
from reconciler.config import Change, Configuration
from reconciler.daemon.certificates import Certificates
from reconciler.delivery.attempt import RetryPolicy
from reconciler.delivery.client import DeliveryClient, build_delivery_client
from reconciler.ledger import Backoff
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.outbound.session import Retired
from reconciler.reconcile.assure_connection import AssureConnection, build_connection
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current

LONGEST_CALL = 6
"""Times ``assure.timeout`` after which a call that has begun must be over: it may last four."""

_NOT_OF_THE_CLIENT = {
    "assure.requests_per_second",
    "assure.final_statuses",
    "assure.pending_statuses",
}


@dataclass(frozen=True, slots=True)
class NewClients:
    """The clients that a change asks for, built and not yet in use."""

    assure: AssureConnection | None
    """None: the present one stays."""
    delivery: DeliveryClient | None
    has_delivery: bool
    """Whether ``delivery`` replaces the present one; it is None where deliveries end."""
    requests_per_second: float


class Clients:
    """The clients in use."""

    def __init__(
        self,
        configuration: Configuration,
        certificates: Certificates,
        *,
        budget: Budget,
        breaker: Breaker,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self._budget = budget
        self._breaker = breaker
        self._clock = clock
        self._log = log
        self._retired = Retired()
        delivery = _build_delivery(configuration, certificates, clock=clock, log=log)
        self.assure = Current(self._assure(configuration, certificates))
        self.delivery = Current(delivery)

    def prepare(self, change: Change, certificates: Certificates) -> NewClients:
        """Build what ``change`` asks for. Raises ValueError, and then nothing is left open."""
        configuration = change.configuration
        assure, delivery = None, None
        has_delivery = change.touches("delivery")
        if has_delivery:
            delivery = _build_delivery(
                configuration, certificates, clock=self._clock, log=self._log
            )
        # Last: of the two, only the client of Assure opens something.
        if any(key.startswith("assure.") for key in {*change.changed} - _NOT_OF_THE_CLIENT):
            assure = self._assure(configuration, certificates)
        rate = configuration.settings.assure.requests_per_second
        return NewClients(assure, delivery, has_delivery, rate)

    def use(self, new: NewClients) -> None:
        """Let what begins from now on use ``new``."""
        self._budget.set_rate(new.requests_per_second)
        if new.has_delivery:
            self.delivery.value = new.delivery
        if new.assure is not None:
            old, self.assure.value = self.assure.value, new.assure
            if (
                old.path.is_proven
                and old.endpoint.fingerprint() == new.assure.endpoint.fingerprint()
            ):
                new.assure.path.proven()
            self._retired.add(old.session, after=LONGEST_CALL * old.endpoint.timeout)

    async def close(self) -> None:
        """Close all connections."""
        await self.assure.value.session.close()
        await self._retired.close()

    def _assure(self, configuration: Configuration, certificates: Certificates) -> AssureConnection:
        return _build_assure(
            configuration,
            certificates,
            budget=self._budget,
            breaker=self._breaker,
            clock=self._clock,
            log=self._log,
        )


def _build_assure(
    configuration: Configuration,
    certificates: Certificates,
    *,
    budget: Budget,
    breaker: Breaker,
    clock: Clock,
    log: FilteringBoundLogger,
) -> AssureConnection:
    """Return a client of Assure with connections of its own; the caller closes it."""
    assure, secrets = configuration.settings.assure, configuration.secrets
    endpoint = Endpoint(
        base_url=str(assure.base_url),
        token_url=str(assure.token_url),
        client_id=assure.client_id,
        client_secret=secrets.assure_client_secret or "",
        scope=assure.scope,
        process_path=assure.process_path,
        notify_path=assure.notify_path,
        notify_method=assure.notify_method,
        timeout=assure.timeout / 1000,
        proxy=secrets.assure_proxy or "",
    )
    return build_connection(
        endpoint,
        certificates.trusted["assure"],
        max_concurrency=assure.max_concurrency,
        budget=budget,
        breaker=breaker,
        clock=clock,
        log=log,
    )


def _build_delivery(
    configuration: Configuration,
    certificates: Certificates,
    *,
    clock: Clock,
    log: FilteringBoundLogger,
) -> DeliveryClient | None:
    """Return the client of your application; None where there is nobody to deliver to."""
    delivery, secrets = configuration.settings.delivery, configuration.secrets
    if delivery is None:
        return None
    waits = delivery.backoff
    backoff = Backoff(waits.initial, waits.factor, waits.max, waits.jitter)
    return build_delivery_client(
        str(delivery.url),
        certificates.trusted["delivery"],
        secrets=secrets.delivery_secret,
        headers=secrets.delivery_headers,
        retry=RetryPolicy(backoff, delivery.give_up_after),
        timeout=delivery.timeout,
        max_concurrency=delivery.max_concurrency,
        proxy=secrets.delivery_proxy or "",
        clock=clock,
        log=log,
    )
