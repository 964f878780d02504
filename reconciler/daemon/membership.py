"""One daemon among those on its store: the row that says it is alive, and its share of the rate."""

import os
import socket
from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from reconciler import __version__
from reconciler.admin.health import Described
from reconciler.config import InForce
from reconciler.inbound.group_commit import Intake
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.share import Portion, Share, portion
from reconciler.reconcile.sweeper import Sweeper
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.instances import Instance, Instances


class OwnInstance:
    """This daemon as its own row describes it."""

    def __init__(
        self,
        instance_id: str,
        current: Current[InForce],
        *,
        sweeper: Sweeper,
        breaker: Breaker,
        intake: Intake,
        clock: Clock,
    ) -> None:
        self.instance_id = instance_id
        self._current = current
        self._sweeper = sweeper
        self._breaker = breaker
        self._intake = intake
        self._clock = clock
        self._started_at = clock.now()

    def instance(self) -> Instance:
        """Return the row as of now."""
        return Instance(
            instance_id=self.instance_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            started_at=self._started_at,
            heartbeat_at=self._clock.now(),
            last_sweep_at=self._sweeper.last_sweep_at,
            breaker=self._breaker.state,
            spooled=self._intake.spooled,
            requests_per_second=self._current.value.settings.assure.requests_per_second,
        )


class Membership:
    """Renews the row, and tells the log when the share changes, runs out or is back.

    On SQLite there is one daemon, as the lock on the file proves: nothing is shared there.
    """

    def __init__(
        self,
        own: Described,
        instances: Instances,
        share: Share | None,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        """``share``: by which the budget goes; None where nothing is shared."""
        self._own = own
        self._instances = instances
        self._share = share
        self._clock = clock
        self._log = log
        self._told: tuple[int, Portion] | None = None
        self._is_lost = False

    async def renew(self) -> None:
        """Write the row as it is now. Raises StoreError."""
        if self._share is None:
            await self._instances.beat(self._own.instance())
            return
        try:
            # A renewal that came through too late may not have been counted by others: then join.
            await self._renew(self._share) or await self._renew(self._share)
        finally:
            self._tell_if_lost(self._share)

    async def _renew(self, share: Share) -> bool:
        self._tell_if_lost(share)
        begun = (
            self._clock.monotonic()
        )  # before the row says when: so it is never younger than we think
        joins = share.must_join(begun)
        own = self._own.instance()
        live = await self._instances.beat(own, joins=joins)
        ended = self._clock.monotonic()
        ours = _portion_of(own, live)
        if joins:
            share.joined(begun, ended, ours, alone=len(live) == 1)
        else:
            share.renewed(begun, ended, ours)
        if share.must_join(ended):
            return False
        self._tell(len(live), ours, share.opens_in(ended), joins=joins)
        return True

    async def leave(self) -> None:
        """Renew the row for the last time and take it away. Raises StoreError."""
        await self.renew()
        await self._instances.sign_off(self._own.instance().instance_id)

    def _tell(self, live: int, ours: Portion, wait: float, *, joins: bool) -> None:
        told = {"instances": live, "calls_per_second": round(ours.rate, 3), "wait_s": round(wait)}
        if self._is_lost:
            self._is_lost = False
            self._log.info("share_regained", **told)
        elif joins or self._told != (live, ours):
            self._log.info("share_changed", **told)
        self._told = (live, ours)

    def _tell_if_lost(self, share: Share) -> None:
        if self._told and not self._is_lost and share.has_run_out(self._clock.monotonic()):
            self._is_lost = True
            self._log.warning("share_lost")


def _portion_of(own: Instance, live: Sequence[Instance]) -> Portion:
    """Return what ``own`` may use, the rate being the smallest that any of ``live`` was given."""
    eldest_first = sorted(live, key=lambda each: (each.started_at, each.instance_id))
    place = [each.instance_id for each in eldest_first].index(own.instance_id)
    rates = [each.requests_per_second for each in live if each.requests_per_second is not None]
    return portion(min(rates), len(live), place)
