"""What an earlier run has left in the store, and what must be seen to because of it."""

from collections.abc import Callable

from reconciler.inbound.applier import Applier
from reconciler.reconcile.connection import AssureConnection
from reconciler.reconcile.overdue import OverdueChecker
from reconciler.store.instances import Instances
from reconciler.store.key_value import KeyValues

_ASSURE_PATH = "assure_path"


class Recovery:
    """Carries over what is remembered from one run to the next."""

    def __init__(
        self,
        instances: Instances,
        key_values: KeyValues,
        *,
        watch: OverdueChecker,
        applier: Applier,
        monotonic: Callable[[], float],
    ) -> None:
        self._instances = instances
        self._key_values = key_values
        self._watch = watch
        self._applier = applier
        self._monotonic = monotonic
        self._begun_at = monotonic()
        self._last_alive_at: int | None = None
        self.is_introduced = False
        """Whether what the store remembers has been read."""
        self.is_done = False

    async def introduce(self, line: AssureConnection) -> None:
        """Learn what the store remembers, before our first heartbeat says that one is alive."""
        await self._look(line)
        self._last_alive_at = await self._instances.last_alive_at()
        self.is_introduced = True

    async def remember(self, line: AssureConnection) -> None:
        """Remember that Get process has answered under this URL and path, or learn it.

        Another daemon may have been the first; or a reload has brought back what was proven once.
        """
        if not line.path.is_proven:
            await self._look(line)
        else:
            await self._key_values.put(_ASSURE_PATH, line.endpoint.fingerprint())

    async def recover(self) -> None:
        """See to clock, inbox and downtime.

        The first tick does it, not the start: on a large ledger it takes seconds, in which
        callbacks must be taken already.
        """
        await self._watch.mend_clock()
        await self._applier.recover(everything=True)
        up_for = round((self._monotonic() - self._begun_at) * 1000)
        self.is_done = await self._watch.after_downtime(self._last_alive_at, up_for=up_for)

    async def _look(self, line: AssureConnection) -> None:
        if await self._key_values.get(_ASSURE_PATH) == line.endpoint.fingerprint():
            line.path.proven()
