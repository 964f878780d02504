"""Changes of the ledger by an actor, with their timeline entries and log lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from reconciler.ledger import Outcome, Registration, State, Verb
from reconciler.ledger.identifiers import can_be_id
from reconciler.operations.actor import Actor
from reconciler.store.actions import Note
from reconciler.store.announce import announce
from reconciler.store.apply import Observed
from reconciler.store.registrations import Registered

AT_ONCE = 100
"""Rechecks in one transaction, which keeps the daemon's inbox waiting."""

PAGE = 1_000

Change = tuple[Observed, Outcome]


@dataclass(frozen=True, slots=True)
class Rechecked:
    """The result of a recheck."""

    due: int
    unknown: tuple[str, ...] = ()
    """Ids that are not on the ledger."""


async def register(actor: Actor, registrations: Sequence[Registration]) -> Registered:
    """Put processes on the ledger: all, or none where one conflicts. Idempotent."""
    done = await _registered(actor, registrations, whole=True, note=None)
    announce(actor.log, done.changes)
    return done


async def track(actor: Actor, registration: Registration) -> Registered:
    """Put one process on the ledger for a person: ``register`` with an operator action."""
    done = await _registered(actor, [registration], whole=True, note=actor.note("register"))
    announce(actor.log, done.changes)
    if not done.conflicts:
        actor.log_action("register", process_id=registration.process_id)
    return done


async def import_batch(
    actor: Actor, registrations: Sequence[Registration], note: Note, *, whole: bool
) -> Registered:
    """Put a batch of a file's processes on the ledger; ``note`` counts those of all batches.

    ``whole``: with any conflict nothing is registered; otherwise the others are. A registration
    has no log line of its own, for there may be a million.
    """
    done = await _registered(actor, registrations, whole=whole, note=note)
    announce(
        actor.log,
        [change for change in done.changes if not isinstance(change[0][1], Registration)],
    )
    return done


async def recheck(actor: Actor, process_ids: Sequence[str], verb: Verb | None) -> Rechecked:
    """Make processes due now, for ``verb`` if there is one. Each is logged."""
    ids = list(dict.fromkeys(process_ids))
    note = actor.note("recheck", {"verb": verb})
    found: set[str] = set()
    for batch in batches([key for key in ids if can_be_id(key)], AT_ONCE):
        changes = await _recheck(actor, batch, verb, note)
        announce(actor.log, changes)
        found |= _due(changes)
    return Rechecked(len(found), tuple(key for key in ids if key not in found))


async def recheck_overdue(actor: Actor, verb: Verb | None) -> Rechecked:
    """Make all overdue processes due now, for ``verb`` if there is one. One line is logged."""
    note, due = actor.note("recheck", {"verb": verb}, counting="processes"), 0
    for batch in batches(await _overdue(actor), AT_ONCE):
        due += len(_due(await _recheck(actor, batch, verb, replace(note, before=due))))
    if due:
        actor.log_action("recheck", verb=verb, processes=due)
    else:
        await actor.record_action("recheck", verb=verb, processes=0)
    return Rechecked(due)


async def forget(actor: Actor, process_id: str) -> bool:
    """Remove everything about one process; False when it is not on the ledger."""
    if not can_be_id(process_id):
        return False
    removed = await actor.store.registry.forget(
        process_id, actor.name, actor.clock.now(), is_logged=actor.is_daemon
    )
    if removed:
        actor.log_action("forget")  # without the id, which is to be forgotten
    return removed


def batches(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield ``ids`` in pieces of ``size``."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


async def _registered(
    actor: Actor, registrations: Sequence[Registration], *, whole: bool, note: Note | None
) -> Registered:
    return await actor.store.registry.register(
        registrations, actor.rules, actor.clock.now(), whole=whole, note=note
    )


async def _recheck(
    actor: Actor, process_ids: Sequence[str], verb: Verb | None, note: Note
) -> Sequence[Change]:
    return await actor.store.work.recheck(process_ids, verb, actor.rules, actor.clock.now(), note)


def _due(changes: Sequence[Change]) -> set[str]:
    return {key for (key, _), outcome in changes if outcome.process is not None}


async def _overdue(actor: Actor) -> list[str]:
    ids: list[str] = []
    cursor = None
    while True:
        page, cursor = await actor.store.views.page(state=State.OVERDUE, limit=PAGE, cursor=cursor)
        ids += [process.process_id for process in page]
        if cursor is None:
            return ids
