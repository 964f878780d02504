"""Registers processes, and forgets them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete

from reconciler.ledger import Outcome, Registration, Rules
from reconciler.ledger.identifiers import key_of, same_id
from reconciler.store.actions import Action, Note, forget_process, write_actions
from reconciler.store.apply import Observed, apply_observations, load
from reconciler.store.database import Database
from reconciler.store.inbox import apply_receipts, held_back
from reconciler.store.retry import retried
from reconciler.store.schema import callbacks, deliveries, processes, timeline

_TRACES = (callbacks, processes, timeline, deliveries)
"""The tables with rows of a process; callbacks first, as applying locks them first."""


@dataclass(frozen=True, slots=True)
class Registered:
    """The result of a batch of registrations."""

    created: int
    known: int
    conflicts: tuple[int, ...]
    """Indexes of registrations whose process is known with another dossier."""
    changes: tuple[tuple[Observed, Outcome], ...]


class Registry:
    """Registers and forgets processes in one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @retried
    async def register(
        self,
        registrations: Sequence[Registration],
        rules: Rules,
        now: int,
        *,
        whole: bool,
        note: Note | None = None,
    ) -> Registered:
        """Register a batch in one transaction. Idempotent.

        ``whole``: with any conflict nothing is registered; otherwise all others are. ``note``: for
        a person, it tells of one registration, or counts the new processes.
        """
        async with self._database.write() as connection:
            ids = [registration.process_id for registration in registrations]
            known = await load(connection, ids)
            dossiers = {key: p.dossier_id for key, p in known.items() if not p.adopted}
            conflicts = []
            for index, registration in enumerate(registrations):
                key, own = key_of(registration.process_id), registration.dossier_id
                if not same_id(dossiers.setdefault(key, own), own):
                    conflicts.append(index)
            if conflicts and whole:
                return Registered(0, 0, tuple(conflicts), ())
            skipped = set(conflicts)
            observed: list[Observed] = [
                (registration.process_id, registration)
                for index, registration in enumerate(registrations)
                if index not in skipped
            ]
            outcomes = await apply_observations(connection, observed, rules, now)
            changes = list(zip(observed, outcomes, strict=True))
            dossier_of = {
                key_of(name): o.process.dossier_id for (name, _), o in changes if o.process
            }
            waiting = [
                receipt
                for receipt in await held_back(connection, sorted(dossier_of))
                if same_id(receipt.dossier_id, dossier_of[key_of(receipt.process_id)])
            ]
            changes += await apply_receipts(connection, waiting, rules, now)
            created = {key_of(name): name for name, _ in observed if key_of(name) not in known}
            if note is not None:
                told = [name for name, _ in observed] if note.counting is None else [*created]
                await note.write(connection, told)
        known_before = len(observed) - len(created)
        return Registered(len(created), known_before, tuple(conflicts), tuple(changes))

    @retried
    async def forget(self, process_id: str, by: str, now: int, *, is_logged: bool = False) -> bool:
        """Remove everything about a process; False when there is nothing.

        One action remains, which names the caller and not the process, and older ones without its
        id. ``is_logged``: whether the caller logs it.
        """
        if not process_id:  # entries that concern no process have an empty id
            return False
        key = key_of(process_id)
        async with self._database.write() as connection:
            removed = await forget_process(connection, key)
            for table in _TRACES:
                done = await connection.execute(delete(table).where(table.c.process_id == key))
                removed += done.rowcount
            if removed:
                forgotten = Action(now, by, "forget")
                await write_actions(connection, [forgotten], is_logged=is_logged)
        return removed > 0
