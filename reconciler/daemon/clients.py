"""The two lines outward, to Assure and to your application; a reload makes new ones whole.

What has begun on an old line ends on it, with the settings that it began with.
"""

from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from reconciler.config import Change, Secrets, Settings
from reconciler.daemon.build import deliverer_of, endpoint_of
from reconciler.delivery.outlet import Line, Outlet
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.outbound.session import Retired, build_session, trusting
from reconciler.reconcile.connection import AssureConnection, build_connection
from reconciler.runtime.clock import Clock
from reconciler.store.outbox import Outbox

LONGEST_CALL = 6
"""Times ``assure.timeout`` after which a call that has begun must be over: it may last four."""

_NOT_OF_THE_LINE = {
    "assure.requests_per_second",
    "assure.final_statuses",
    "assure.pending_statuses",
}


@dataclass(frozen=True, slots=True)
class NewClients:
    """What a change asks for, made and not yet in use."""

    assure: AssureConnection | None
    """None: the present one stays."""
    delivery: Line | None
    has_delivery: bool
    """Whether ``delivery`` replaces the present one; it is None where deliveries end."""


class Clients:
    """The lines in use."""

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        outbox: Outbox,
        *,
        budget: Budget,
        breaker: Breaker,
        owner: str,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        """Raises ValueError where a ``ca_file`` cannot be used."""
        self._outbox = outbox
        self._budget = budget
        self._breaker = breaker
        self._owner = owner
        self._clock = clock
        self._log = log
        self._retired = Retired()
        self.assure = self._build_assure(settings, secrets)
        self.outlet = Outlet(self._build_delivery(settings, secrets))

    async def prepare(self, change: Change) -> NewClients:
        """Make what ``change`` asks for. Raises ValueError, and then nothing is left open."""
        settings, secrets = change.configuration.settings, change.configuration.secrets
        assure, delivery = None, None
        has_delivery = change.touches("delivery")
        if any(key.startswith("assure.") for key in {*change.changed} - _NOT_OF_THE_LINE):
            assure = self._build_assure(settings, secrets)
        try:
            if has_delivery:
                delivery = self._build_delivery(settings, secrets)
        except ValueError:
            if assure is not None:
                await assure.session.close()
            raise
        return NewClients(assure, delivery, has_delivery)

    def use(self, new: NewClients) -> None:
        """Let what begins from now on go over ``new``."""
        if new.has_delivery:
            self.outlet.use(new.delivery)
        if new.assure is not None:
            old, self.assure = self.assure, new.assure
            if (
                old.path.is_proven
                and old.endpoint.fingerprint() == new.assure.endpoint.fingerprint()
            ):
                new.assure.path.proven()
            self._retired.add(old.session, after=LONGEST_CALL * old.endpoint.timeout)

    async def close(self) -> None:
        """Close all connections."""
        await self.assure.session.close()
        await self._retired.close()
        await self.outlet.close()

    def _build_assure(self, settings: Settings, secrets: Secrets) -> AssureConnection:
        assure = settings.assure
        return build_connection(
            endpoint_of(settings, secrets),
            trusting(assure.ca_file),
            max_concurrency=assure.max_concurrency,
            budget=self._budget,
            breaker=self._breaker,
            clock=self._clock,
            log=self._log,
        )

    def _build_delivery(self, settings: Settings, secrets: Secrets) -> Line | None:
        delivery = settings.delivery
        if delivery is None:
            return None
        session = build_session(trusting(delivery.ca_file), delivery.max_concurrency)
        deliverer = deliverer_of(
            settings,
            secrets,
            session,
            self._outbox,
            owner=self._owner,
            clock=self._clock,
            log=self._log,
        )
        return Line(deliverer, session)
