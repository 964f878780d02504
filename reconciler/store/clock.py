"""The clock that all daemons on a store share: the database's.

The reasons: docs/decisions/013.
"""

from sqlalchemy import text
from structlog.typing import FilteringBoundLogger

from reconciler.runtime.clock import Clock
from reconciler.store.database import Database

LARGE = 1_000
"""Milliseconds of difference at which ``clock_differs`` is logged."""

TOLERANCE = 1_000
"""Milliseconds by which the clocks of two daemons on PostgreSQL may differ without a jump."""

_CLOCK = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)")


def tolerance(dialect: str) -> int:
    """Return by how many ms a stored time may lie ahead of ``now`` although no clock was put back.

    On SQLite there is one clock.
    """
    return 0 if dialect == "sqlite" else TOLERANCE


class StoreClock(Clock):
    """This machine's clock, corrected by an offset that is read with each heartbeat.

    So due times and leases mean the same to every daemon, and SQL never calls now(). On SQLite
    there is one machine, and nothing to correct.
    """

    def __init__(self, database: Database, own: Clock, log: FilteringBoundLogger) -> None:
        """``own``: this machine's clock, of which only the wall time is corrected."""
        self._database = database
        self._own = own
        self._log = log
        self._offset = 0
        self._is_large = False

    def now(self) -> int:
        """Return the time in UTC milliseconds."""
        return self._own.now() + self._offset

    def monotonic(self) -> float:
        """Return this machine's monotonic seconds."""
        return self._own.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep by this machine's monotonic clock."""
        await self._own.sleep(seconds)

    async def correct(self) -> None:
        """Read the database's clock. Raises StoreError."""
        if self._database.dialect == "sqlite":
            return
        async with self._database.read() as connection:
            before = self._own.now()
            theirs = int((await connection.execute(_CLOCK)).scalar_one())
            after = self._own.now()
        # It was read somewhere between the two, so a smaller difference means nothing, nor does
        # a jump of our own clock meanwhile.
        uncertainty = (after - before) / 2
        offset = round(theirs - (before + uncertainty))
        if uncertainty < 0 or abs(offset - self._offset) <= uncertainty + 1:
            return
        self._offset = offset
        was_large, self._is_large = self._is_large, abs(offset) > LARGE
        if self._is_large and not was_large:
            self._log.warning("clock_differs", offset_ms=offset)
