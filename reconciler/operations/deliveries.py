"""Redelivery by an actor: deliveries are sent again, under the same ids."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.operations.actor import Actor
from reconciler.operations.processes import batches

AT_ONCE = 100
"""Deliveries in one transaction."""


@dataclass(frozen=True, slots=True)
class Redelivered:
    """The result of a redelivery."""

    due: int
    unknown: tuple[str, ...] = ()
    """Ids that are not in the outbox."""


async def redeliver(actor: Actor, webhook_ids: Sequence[str]) -> Redelivered:
    """Make deliveries due again."""
    ids = list(dict.fromkeys(webhook_ids))
    found = await _redeliver(actor, ids)
    if found:
        await actor.record_action("redeliver", deliveries=len(found))
    return Redelivered(len(found), tuple(key for key in ids if key not in found))


async def redeliver_dead(actor: Actor) -> Redelivered:
    """Make every dead delivery due again."""
    found = await _redeliver(actor, await actor.store.redelivery.dead(sys.maxsize))
    await actor.record_action("redeliver", deliveries=len(found))
    return Redelivered(len(found))


async def redeliver_since(actor: Actor, since: int) -> Redelivered:
    """Make the results of all processes due that ended at or after ``since`` (UTC ms).

    A result that was never delivered, because there was no URL, gets its first delivery.
    """
    again = actor.store.redelivery
    due = 0
    for batch in batches(await again.ended_since(since), AT_ONCE):
        due += await again.redeliver_results(batch, by=actor.name, now=actor.clock.now())
    await actor.record_action("redeliver", deliveries=due)
    return Redelivered(due)


async def _redeliver(actor: Actor, webhook_ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for batch in batches(webhook_ids, AT_ONCE):
        again = actor.store.redelivery
        found |= set(await again.redeliver(batch, by=actor.name, now=actor.clock.now()))
    return found
