"""The inbox: callbacks as they arrived. Storing them is one step, applying them a second one.

The reasons: docs/decisions/003.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import orjson
from sqlalchemy import bindparam, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.ledger import Callback, Outcome, Rules
from reconciler.ledger.identifiers import key_of
from reconciler.store.apply import Observed, apply_observations
from reconciler.store.database import Database
from reconciler.store.key_value import put
from reconciler.store.retry import retried
from reconciler.store.schema import Millis, Word, callbacks


@dataclass(frozen=True, slots=True)
class Receipt:
    """One received callback as it is kept: no header, no body, no value of an extra member."""

    receipt_id: str
    """The unique key, made on arrival: a second insert changes nothing."""
    received_at: int
    process_id: str
    dossier_id: str
    status: str
    extra: tuple[str, ...]
    body_sha256: bytes

    def observation(self) -> Callback:
        """Return the receipt as an observation."""
        return Callback(
            receipt_id=self.receipt_id,
            process_id=self.process_id,
            dossier_id=self.dossier_id,
            status=self.status,
            received_at=self.received_at,
        )


AHEAD = 60_000
"""Milliseconds after which an arrival lies in the future: no daemon is still about to apply it."""

_C = callbacks.c
_COLUMNS = (
    _C.receipt_id,
    _C.received_at,
    _C.process_id,
    _C.dossier_id,
    _C.status,
    _C.extra,
    _C.body_sha256,
    _C.spelling,
)
"""The columns of ``_row``; the outcome is set later."""
_UNAPPLIED = (
    select(callbacks)
    .where(callbacks.c.outcome.is_(None))
    .where(
        or_(
            callbacks.c.received_at <= bindparam("before"),
            callbacks.c.received_at > bindparam("ahead"),
        )
    )
    .where(
        tuple_(callbacks.c.received_at, callbacks.c.receipt_id)
        > tuple_(bindparam("at", type_=Millis), bindparam("key", type_=Word))
    )
    .order_by(callbacks.c.received_at, callbacks.c.receipt_id)
    .limit(bindparam("most"))
)
_CHOSEN = callbacks.c.receipt_id.in_(bindparam("ids", expanding=True))
_STILL_UNAPPLIED = select(_C.receipt_id).where(_CHOSEN).where(_C.outcome.is_(None))
_COUNT_UNAPPLIED = _STILL_UNAPPLIED.with_only_columns(func.count())
_LOCK_UNAPPLIED = _STILL_UNAPPLIED.with_for_update(skip_locked=True)
"""Those that no other daemon is applying now."""
_MARK = update(callbacks).where(_CHOSEN).values(outcome=bindparam("result"))
_HELD_BACK = (
    select(callbacks)
    .where(callbacks.c.process_id.in_(bindparam("ids", expanding=True)))
    .where(callbacks.c.outcome.in_(("unmatched", "mismatch")))
    .order_by(callbacks.c.received_at, callbacks.c.receipt_id)
)


class Inbox:
    """The inbox of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_many(self, receipts: Sequence[Receipt]) -> None:
        """Store ``receipts`` in one transaction; they are fsynced when this returns."""
        await self._database.insert_new(_COLUMNS, sorted(map(_row, receipts), key=itemgetter(0)))

    async def prove(self) -> None:
        """Prove by a real commit that the store takes writes. Raises StoreError."""
        async with self._database.write(urgent=True) as connection:
            await put(connection, "proof", os.urandom(8).hex())

    async def check_room(self) -> None:
        """Raise StoreUnavailableError where the next callbacks would fill the disk."""
        await self._database.check_room()

    async def unapplied(
        self, before: int, most: int, *, after: Receipt | None = None
    ) -> list[Receipt]:
        """Return the oldest receipts up to ``before`` that were not applied.

        Those far ahead of it too: a clock has been put back since, or that of another daemon is
        ahead.
        ``after``: start behind this one, for the oldest may be one that cannot be applied.
        """
        at, key = (after.received_at, after.receipt_id) if after else (-1, "")
        values = {"before": before, "ahead": before + AHEAD, "most": most, "at": at, "key": key}
        async with self._database.read() as connection:
            return await _receipts(connection, _UNAPPLIED, values)

    @retried
    async def apply(
        self, receipts: Sequence[Receipt], rules: Rules, now: int
    ) -> list[tuple[Observed, Outcome]]:
        """Apply those of ``receipts`` that were not applied, in the order of their arrival."""
        async with self._database.write() as connection:
            fresh = await _unapplied_of(connection, receipts)
            return await apply_receipts(connection, fresh, rules, now)


async def apply_receipts(
    connection: AsyncConnection, receipts: Sequence[Receipt], rules: Rules, now: int
) -> list[tuple[Observed, Outcome]]:
    """Apply ``receipts`` and set the outcome of each, in the caller's transaction."""
    if not receipts:
        return []
    ordered = sorted(receipts, key=lambda receipt: (receipt.received_at, receipt.receipt_id))
    observed: list[Observed] = [(r.process_id, r.observation()) for r in ordered]
    outcomes = await apply_observations(connection, observed, rules, now)
    marks: dict[str, list[str]] = {}
    for receipt, outcome in zip(ordered, outcomes, strict=True):
        marks.setdefault(_result(outcome), []).append(receipt.receipt_id)
    for result, ids in sorted(marks.items()):
        await connection.execute(_MARK, {"ids": sorted(ids), "result": result})
    return list(zip(observed, outcomes, strict=True))


async def held_back(connection: AsyncConnection, process_ids: Sequence[str]) -> list[Receipt]:
    """Return the callbacks that did not apply: without a process, or of another dossier."""
    return await _receipts(connection, _HELD_BACK, {"ids": list(map(key_of, process_ids))})


async def _unapplied_of(
    connection: AsyncConnection, receipts: Sequence[Receipt]
) -> Sequence[Receipt]:
    """Return those of ``receipts`` that are stored and not applied: usually all."""
    ids = {"ids": [receipt.receipt_id for receipt in receipts]}
    is_alone = connection.dialect.name == "sqlite"
    if is_alone and await connection.scalar(_COUNT_UNAPPLIED, ids) == len(receipts):
        return receipts  # a count of one row instead of all
    todo = set((await connection.execute(_LOCK_UNAPPLIED, ids)).scalars())
    return [receipt for receipt in receipts if receipt.receipt_id in todo]


async def _receipts(connection: AsyncConnection, query: object, values: object) -> list[Receipt]:
    rows = await connection.execute(query, values)  # type: ignore[call-overload]
    return [
        Receipt(
            receipt_id=row.receipt_id,
            received_at=row.received_at,
            process_id=row.spelling or row.process_id,
            dossier_id=row.dossier_id,
            status=row.status,
            extra=tuple(orjson.loads(row.extra)) if row.extra else (),
            body_sha256=row.body_sha256,
        )
        for row in rows
    ]


def _row(receipt: Receipt) -> tuple[str, int, str, str, str, str | None, bytes, str | None]:
    key = key_of(receipt.process_id)
    extra = orjson.dumps(receipt.extra).decode() if receipt.extra else None
    return (
        receipt.receipt_id,
        receipt.received_at,
        key,
        receipt.dossier_id,
        receipt.status,
        extra,
        receipt.body_sha256,
        None if key == receipt.process_id else receipt.process_id,
    )


def _result(outcome: Outcome) -> str:
    if outcome.process is None:
        return "unmatched"
    mismatch = any(entry.event == "callback_mismatch" for entry in outcome.entries)
    return "mismatch" if mismatch else "applied"
