"""The clients of Assure and of your application; a reload builds new ones and swaps them whole.

What has begun with an old client ends with it, with the settings that it began with.
"""

from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from reconciler.config import Change, Configuration
from reconciler.daemon.build import build_assure, build_delivery
from reconciler.daemon.certificates import Certificates
from reconciler.delivery.client import DeliveryClient
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.outbound.session import Retired
from reconciler.reconcile.connection import AssureConnection
from reconciler.runtime.clock import Clock
from reconciler.runtime.current import Current

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
        delivery = build_delivery(configuration, certificates, clock=clock, log=log)
        self.assure = Current(self._assure(configuration, certificates))
        self.delivery = Current(delivery)

    def prepare(self, change: Change, certificates: Certificates) -> NewClients:
        """Build what ``change`` asks for. Raises ValueError, and then nothing is left open."""
        configuration = change.configuration
        assure, delivery = None, None
        has_delivery = change.touches("delivery")
        if has_delivery:
            delivery = build_delivery(configuration, certificates, clock=self._clock, log=self._log)
        # Last: of the two, only the client of Assure opens something.
        if any(key.startswith("assure.") for key in {*change.changed} - _NOT_OF_THE_CLIENT):
            assure = self._assure(configuration, certificates)
        return NewClients(assure, delivery, has_delivery)

    def use(self, new: NewClients) -> None:
        """Let what begins from now on use ``new``."""
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
        return build_assure(
            configuration,
            certificates,
            budget=self._budget,
            breaker=self._breaker,
            clock=self._clock,
            log=self._log,
        )
