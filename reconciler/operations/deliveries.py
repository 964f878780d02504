"""Redelivery by an actor: deliveries are sent again, under the same ids."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reconciler.operations.actor import Actor
from reconciler.operations.processes import batches
from reconciler.store.actions import Note

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
        actor.log_action("redeliver", deliveries=len(found))
    return Redelivered(len(found), tuple(key for key in ids if key not in found))


async def redeliver_dead(actor: Actor) -> Redelivered:
    """Make every dead delivery due again."""
    found = await _redeliver(actor, await actor.store.redelivery.dead(sys.maxsize))
    await _log_all(actor, len(found))
    return Redelivered(len(found))


async def redeliver_since(actor: Actor, since: int) -> Redelivered:
    """Make the results of all processes due that ended at or after ``since`` (UTC ms).

    A result that was never delivered, because there was no URL, gets its first delivery.
    """
    again, note = actor.store.redelivery, _note(actor)
    due = 0
    for batch in batches(await again.ended_since(since), AT_ONCE):
        counted = replace(note, before=due)
        due += await again.redeliver_results(
            batch, by=actor.name, now=actor.clock.now(), note=counted
        )
    await _log_all(actor, due)
    return Redelivered(due)


async def _redeliver(actor: Actor, webhook_ids: Sequence[str]) -> set[str]:
    again, note = actor.store.redelivery, _note(actor)
    found: set[str] = set()
    for batch in batches(webhook_ids, AT_ONCE):
        counted = replace(note, before=len(found))
        found |= set(
            await again.redeliver(batch, by=actor.name, now=actor.clock.now(), note=counted)
        )
    return found


def _note(actor: Actor) -> Note:
    return actor.note("redeliver", counting="deliveries")


async def _log_all(actor: Actor, deliveries: int) -> None:
    """Log what was asked for without naming any; where there was none, remember that too."""
    if deliveries:
        actor.log_action("redeliver", deliveries=deliveries)
    else:
        await actor.record_action("redeliver", deliveries=0)
