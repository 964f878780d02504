"""One daemon among those on its store: keeps its row there, and from that its share of the rate."""

from collections.abc import Callable, Sequence

from structlog.typing import FilteringBoundLogger

from reconciler.outbound.share import Portion, Share, portion
from reconciler.store.instances import Instance, Instances


class Membership:
    """Renews the row, and tells the log when the share changes, runs out or is back.

    On SQLite there is one daemon, as the lock on the file proves: nothing is shared there.
    """

    def __init__(
        self,
        instances: Instances,
        share: Share | None,
        *,
        monotonic: Callable[[], float],
        log: FilteringBoundLogger,
    ) -> None:
        """``share``: what the budget goes by; None where nothing is shared."""
        self._instances = instances
        self._share = share
        self._monotonic = monotonic
        self._log = log
        self._told: tuple[int, Portion] | None = None
        self._is_lost = False

    async def renew(self, instance: Callable[[], Instance]) -> None:
        """Write the row, with what ``instance`` then says. Raises StoreError."""
        if self._share is None:
            await self._instances.beat(instance())
            return
        try:
            # Through too late, others may not have counted us in the meantime: then we join.
            await self._renew(self._share, instance) or await self._renew(self._share, instance)
        finally:
            self._tell_if_lost(self._share)

    async def _renew(self, share: Share, instance: Callable[[], Instance]) -> bool:
        self._tell_if_lost(share)
        begun = self._monotonic()  # before the row says when: so it is never younger than we think
        joins = share.must_join(begun)
        own = instance()
        live = await self._instances.beat(own, joins=joins)
        ended = self._monotonic()
        ours = _portion_of(own, live)
        if joins:
            share.joined(begun, ended, ours, alone=len(live) == 1)
        else:
            share.renewed(begun, ended, ours)
        if share.must_join(ended):
            return False
        self._tell(len(live), ours, share.opens_in(ended), joins=joins)
        return True

    def _tell(self, live: int, ours: Portion, wait: float, *, joins: bool) -> None:
        told = {"instances": live, "calls_per_second": round(ours.rate, 3), "wait_s": round(wait)}
        if self._is_lost:
            self._is_lost = False
            self._log.info("share_regained", **told)
        elif joins or self._told != (live, ours):
            self._log.info("share_changed", **told)
        self._told = (live, ours)

    def _tell_if_lost(self, share: Share) -> None:
        if self._told and not self._is_lost and share.has_run_out(self._monotonic()):
            self._is_lost = True
            self._log.warning("share_lost")


def _portion_of(own: Instance, live: Sequence[Instance]) -> Portion:
    """Return what ``own`` may use, the rate being the smallest that any of ``live`` was given."""
    eldest_first = sorted(live, key=lambda each: (each.started_at, each.instance_id))
    place = [each.instance_id for each in eldest_first].index(own.instance_id)
    rates = [each.requests_per_second for each in live if each.requests_per_second is not None]
    return portion(min(rates), len(live), place)
