"""The two jobs that see to what an earlier run has left in the store: heartbeat and sweep.

docs/architecture.md, "The start and the stop", has the order.

The reasons: docs/decisions/017.
"""

from structlog.typing import FilteringBoundLogger

from reconciler.config import InForce
from reconciler.daemon.membership import Membership
from reconciler.inbound.applier import Applier
from reconciler.reconcile.assure_connection import AssureConnection
from reconciler.reconcile.clock_jump import ClockMender
from reconciler.reconcile.overdue import OverdueChecker
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.clock import StoreClock
from reconciler.store.database import Database
from reconciler.store.errors import StoreUnavailableError
from reconciler.store.instances import Instances
from reconciler.store.key_value import KeyValues

HEARTBEAT_SECONDS = 5.0
"""Seconds between two heartbeats of an instance."""

_ASSURE_PATH = "assure_path"


class Heartbeat:
    """The job that renews this daemon's row and corrects its clock by the store's.

    Before the first renewal it reads what the store remembers: from then on this daemon counts as
    alive, and nobody could tell when the last one was.
    """

    name = "heartbeat"
    seconds = HEARTBEAT_SECONDS

    def __init__(
        self,
        clock: StoreClock,
        database: Database,
        instances: Instances,
        key_values: KeyValues,
        membership: Membership,
        assure: Current[AssureConnection],
        log: FilteringBoundLogger,
    ) -> None:
        self.bell = Bell(self.name)
        self._clock = clock
        self._database = database
        self._instances = instances
        self._key_values = key_values
        self._membership = membership
        self._assure = assure
        self._log = log
        self._is_replaced = False
        self.has_begun = False
        """Whether what the store remembers has been read."""
        self.last_alive_at: int | None = None
        """When any daemon was last alive before this one, in UTC milliseconds."""

    async def turn(self) -> bool:
        """Renew the row. Raises StoreError."""
        await self._check_identity()
        await self._clock.correct()
        if not self.has_begun:
            await self._recall()
            self.last_alive_at = await self._instances.last_alive_at()
            self.has_begun = True
        await self._membership.renew()
        await self._remember()
        return False

    async def _check_identity(self) -> None:
        try:
            await self._database.check_identity()
        except StoreUnavailableError as error:
            if not self._is_replaced:
                self._log.error("store_replaced", reason=str(error))
            self._is_replaced = True
            raise
        self._is_replaced = False

    async def _remember(self) -> None:
        """Remember that Get process has answered under this URL and path, or learn it.

        Another daemon may have been the first; or a reload has brought back what was proven once.
        """
        if not self._assure.value.path.is_proven:
            await self._recall()
        else:
            fingerprint = self._assure.value.endpoint.fingerprint()
            await self._key_values.put(_ASSURE_PATH, fingerprint)

    async def _recall(self) -> None:
        connection = self._assure.value
        if await self._key_values.get(_ASSURE_PATH) == connection.endpoint.fingerprint():
            connection.path.proven()


class Sweep:
    """The job that looks at the ledger with each tick, and at the start for what was left.

    On a large ledger the recovery takes minutes, in which callbacks are taken already.
    """

    name = "sweep"

    def __init__(
        self,
        bell: Bell,
        current: Current[InForce],
        *,
        heartbeat: Heartbeat,
        overdue: OverdueChecker,
        clock_mender: ClockMender,
        applier: Applier,
        due: Bell,
        news: Bell,
        clock: Clock,
    ) -> None:
        """``bell`` is also rung by those who put something on the ledger."""
        self.bell = bell
        self._current = current
        self._heartbeat = heartbeat
        self._overdue = overdue
        self._clock_mender = clock_mender
        self._applier = applier
        self._due = due
        self._news = news
        self._clock = clock
        self._begun_at = clock.monotonic()
        self._has_mended_clock = self._has_applied = False

    @property
    def seconds(self) -> float:
        """How often it is done; the most impatient provider decides."""
        return self._current.value.settings.reconcile.shortest_sweep / 1000

    async def turn(self) -> bool:
        """Do a piece: of the recovery first, then of what each tick does. Raises StoreError."""
        if not self._heartbeat.has_begun:
            await self._heartbeat.turn()
        if await self._recover():
            return True
        if await self._clock_mender.tick():
            return True
        has_more = await self._overdue.tick()
        has_more = await self._applier.recover() or has_more
        self._due.ring()
        self._news.ring()
        return has_more

    async def _recover(self) -> bool:
        """See to a piece of clock, inbox and downtime, in this order; True where there is more."""
        if not self._has_mended_clock:
            self._has_mended_clock = not await self._clock_mender.mend()
            return True
        if not self._has_applied:
            self._has_applied = not await self._applier.recover(everything=True)
            return True
        if self._overdue.has_caught_up:
            return False
        up_for = round((self._clock.monotonic() - self._begun_at) * 1000)
        return await self._overdue.after_downtime(self._heartbeat.last_alive_at, up_for=up_for)
