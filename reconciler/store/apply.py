"""Applies observations to the ledger: load, ``transition``, save. Nobody else writes processes."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.ledger import Observation, Outcome, Rules, TrackedProcess, transition
from reconciler.ledger.identifiers import key_of
from reconciler.store.bulk import BulkInsert, BulkSelect
from reconciler.store.delivery_row import delivery_row
from reconciler.store.locks import lock_keys
from reconciler.store.rows import from_row, to_row
from reconciler.store.schema import deliveries, processes
from reconciler.store.timeline import entry_row, write_entries

Observed = tuple[str, Observation]
"""A process id, and an observation of it."""

_BY_IDS = select(processes).where(processes.c.process_id.in_(bindparam("ids", expanding=True)))
_COLUMNS = processes.c.keys()
_LOAD = BulkSelect(_BY_IDS.order_by(processes.c.process_id).with_for_update())
_INSERT = BulkInsert(processes)
_DELIVER = BulkInsert(deliveries)
_SAVE = (
    update(processes)
    .where(processes.c.process_id == bindparam("pk"))
    .values({c.name: bindparam(c.name) for c in processes.c if c.name != "process_id"})
)


async def load(
    connection: AsyncConnection, process_ids: Sequence[str]
) -> dict[str, TrackedProcess]:
    """Return those of ``process_ids`` that are known, by key, locked for the transaction.

    The ids of the others are locked too: nobody else can insert them meanwhile.
    """
    wanted = sorted(set(map(key_of, process_ids)))
    found = await _locked(connection, wanted)
    missing = [key for key in wanted if key not in found]
    if missing and connection.dialect.name != "sqlite":
        await lock_keys(connection, missing)
        found |= await _locked(connection, missing)  # inserted before the lock
    return found


async def _locked(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, TrackedProcess]:
    rows = await _LOAD.rows(connection, {"ids": ids})
    loaded = (from_row(dict(zip(_COLUMNS, row, strict=True))) for row in rows)
    return {process.key: process for process in loaded}


async def apply_observations(
    connection: AsyncConnection, observed: Sequence[Observed], rules: Rules, now: int
) -> list[Outcome]:
    """Apply ``observed`` in order, in the caller's transaction, and return their outcomes."""
    before = await load(connection, [process_id for process_id, _ in observed])
    current = dict(before)
    outcomes = []
    entries = []
    news = []
    for process_id, observation in observed:
        key = key_of(process_id)
        outcome = transition(current.get(key), observation, rules, now)
        outcomes.append(outcome)
        if outcome.process is not None:
            current[key] = outcome.process
            if outcome.delivery is not None and rules.deliver:
                news.append(delivery_row(outcome.process, outcome.delivery.type, now))
        entries += [entry_row(key, now, e.event, e.fields) for e in outcome.entries]
    await save(connection, before, current)
    await write_entries(connection, entries)
    await _DELIVER(connection, news)
    return outcomes


async def save(
    connection: AsyncConnection,
    before: dict[str, TrackedProcess],
    after: dict[str, TrackedProcess],
) -> None:
    """Insert new rows and update changed ones, in the order of their keys."""
    new = [to_row(after[key]) for key in sorted(after) if key not in before]
    changed = [
        {**to_row(after[key]), "pk": key} for key in sorted(before) if after[key] != before[key]
    ]
    await _INSERT(connection, new)
    if changed:
        await connection.execute(_SAVE, changed)
