"""Redelivers results at a person's request."""

from collections.abc import Sequence

from sqlalchemy import and_, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.ledger.identifiers import key_of
from reconciler.store.actions import Note
from reconciler.store.database import Database
from reconciler.store.delivery_row import DeliveryState, delivery_row, type_of
from reconciler.store.retry import retried
from reconciler.store.rows import from_row
from reconciler.store.schema import deliveries, processes
from reconciler.store.timeline import entry_row, write_entries

_D = deliveries.c
_SEND_AGAIN = {
    "state": DeliveryState.PENDING.value,
    "delivered_at": None,
    "lease_owner": None,
    "lease_until": None,
}


class Redelivery:
    """Redeliveries in one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @retried
    async def redeliver(
        self, webhook_ids: Sequence[str], *, by: str, now: int, note: Note | None = None
    ) -> list[str]:
        """Make deliveries pending again under their ids; return the ids that were found."""
        possible = [key for key in webhook_ids if "\0" not in key]  # PostgreSQL takes no NUL
        wanted = select(_D.webhook_id, _D.process_id, _D.type).where(_D.webhook_id.in_(possible))
        async with self._database.write() as connection:
            found = (await connection.execute(wanted)).all()
            await self._send_again(connection, [row.webhook_id for row in found], now)
            fields = {"action": "redeliver", "by": by}
            await write_entries(
                connection,
                [
                    entry_row(row.process_id, now, "operator_action", {**fields, "type": row.type})
                    for row in found
                ],
            )
            names = [row.webhook_id for row in found]
            if names and note is not None:
                await note.write(connection, names)
        return names

    async def dead(self, most: int) -> list[str]:
        """Return ids of up to ``most`` dead deliveries, the oldest first."""
        query = select(_D.webhook_id).where(_D.state == DeliveryState.DEAD.value)
        async with self._database.read() as connection:
            return list((await connection.execute(query.order_by(_D.id).limit(most))).scalars())

    async def ended_since(self, since: int) -> list[str]:
        """Return the processes that ended at or after ``since``, the oldest first."""
        query = (
            select(processes.c.process_id)
            .where(processes.c.ended_at.is_not(None), processes.c.ended_at >= since)
            .order_by(processes.c.ended_at)
        )
        async with self._database.read() as connection:
            return list((await connection.execute(query)).scalars())

    @retried
    async def redeliver_results(
        self, process_ids: Sequence[str], *, by: str, now: int, note: Note | None = None
    ) -> int:
        """Deliver the present results of processes: again, or for the first time."""
        keys = list(map(key_of, process_ids))
        query = select(_D.webhook_id, _D.process_id, _D.state, _D.type).where(
            _D.process_id.in_(keys)
        )
        wanted = select(processes).where(processes.c.process_id.in_(keys)).with_for_update()
        async with self._database.write() as connection:
            # Locked first, so that nobody else writes deliveries of them meanwhile.
            rows = (await connection.execute(wanted.order_by(processes.c.process_id))).mappings()
            ended = [process for process in map(from_row, rows) if not process.state.is_open]
            ended.sort(key=lambda process: process.state_since)
            newest = {
                row.process_id: row for row in await connection.execute(query.order_by(_D.id))
            }
            new = [
                delivery_row(process, type_of(process), now)
                for process in ended
                if process.key not in newest
            ]
            if new:
                await connection.execute(insert(deliveries), new)
            await self._send_again(connection, [row.webhook_id for row in newest.values()], now)
            fields = {"action": "redeliver", "by": by}
            await write_entries(
                connection,
                [entry_row(p.process_id, now, "operator_action", fields) for p in ended],
            )
            due = [
                *(row["webhook_id"] for row in new),
                *(row.webhook_id for row in newest.values()),
            ]
            if note is not None:
                await note.write(connection, due)
        return len(due)

    async def _send_again(
        self, connection: AsyncConnection, webhook_ids: Sequence[str], now: int
    ) -> None:
        """Make deliveries due now; a pending one keeps its attempts and its lease.

        A delivery that was made goes to the timeline, for its row will hold the next one.
        """
        chosen = _D.webhook_id.in_(webhook_ids)
        delivered = select(_D.process_id, _D.delivered_at, _D.type, _D.attempts.label("attempt"))
        before = await connection.execute(
            delivered.where(chosen, _D.delivered_at.is_not(None)).order_by(_D.delivered_at, _D.id)
        )
        await write_entries(
            connection,
            [
                entry_row(
                    row.process_id,
                    row.delivered_at,
                    "delivery_succeeded",
                    {"type": row.type, "attempt": row.attempt},
                )
                for row in before
            ],
        )
        due_now = {"next_attempt_at": now, "scheduled_at": now}
        pending = and_(chosen, _D.state == DeliveryState.PENDING.value)
        await connection.execute(update(deliveries).where(pending).values(due_now))
        ended = and_(chosen, _D.state != DeliveryState.PENDING.value)
        again = {**_SEND_AGAIN, **due_now, "attempts": 0, "pending_since": now}
        await connection.execute(update(deliveries).where(ended).values(again))
