"""The daemons on a store: their heartbeats."""

from dataclasses import asdict, dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.store.clock import tolerance
from reconciler.store.database import Database
from reconciler.store.key_value import KeyValues, put
from reconciler.store.locks import wait_for_lock
from reconciler.store.retry import retried
from reconciler.store.schema import instances
from reconciler.store.upsert import upsert

LIVE_FOR = 15_000
"""Milliseconds after its last heartbeat that an instance counts as alive."""

_LAST_ALIVE = "last_alive_at"


@dataclass(frozen=True, slots=True)
class Instance:
    """The state that a daemon writes with each heartbeat."""

    instance_id: str
    host: str
    pid: int
    version: str
    started_at: int
    heartbeat_at: int
    last_sweep_at: int | None
    breaker: str
    spooled: int
    requests_per_second: float | None = None
    """Its configured rate of calls to Assure."""


class Instances:
    """The heartbeats in one store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._values = KeyValues(database)

    @retried
    async def beat(self, instance: Instance, *, joins: bool = False) -> list[Instance]:
        """Write the heartbeat and return the live instances, this one included.

        A real commit, so it also proves that the store takes writes. Joins are serialized: of two
        at once, at most one sees itself alone.
        """
        dialect = self._database.dialect
        async with self._database.write() as connection:
            if joins:
                await wait_for_lock(connection, "join")
            await upsert(connection, instances, asdict(instance))
            # The clock was put back since, so a dead daemon would count as alive for as long.
            ahead = instances.c.heartbeat_at > instance.heartbeat_at + tolerance(dialect)
            now = {"heartbeat_at": instance.heartbeat_at}
            await connection.execute(update(instances).where(ahead).values(now))
            live = await _live(connection, instance.heartbeat_at)
            stale = instances.c.heartbeat_at < instance.heartbeat_at - 4 * LIVE_FOR
            await connection.execute(delete(instances).where(stale))
            # Last, for all daemons write this row and wait for its lock.
            await put(connection, _LAST_ALIVE, str(instance.heartbeat_at))
        return live

    async def sign_off(self, instance_id: str) -> None:
        """Remove an instance that has stopped cleanly."""
        query = delete(instances).where(instances.c.instance_id == instance_id)
        async with self._database.write() as connection:
            await connection.execute(query)

    async def live(self, now: int) -> list[Instance]:
        """Return the instances with a recent heartbeat, the newest first."""
        async with self._database.read() as connection:
            return await _live(connection, now)

    async def last_alive_at(self) -> int | None:
        """Return when any instance was last alive; None on a new store."""
        value = await self._values.get(_LAST_ALIVE)
        return None if value is None else int(value)


async def _live(connection: AsyncConnection, now: int) -> list[Instance]:
    query = (
        select(instances)
        .where(instances.c.heartbeat_at.between(now - LIVE_FOR, now + LIVE_FOR))
        .order_by(instances.c.heartbeat_at.desc())
    )
    return [Instance(**row) for row in (await connection.execute(query)).mappings()]
