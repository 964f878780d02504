"""Writes timeline entries."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.ledger.identifiers import key_of
from reconciler.store.bulk import BulkInsert
from reconciler.store.schema import timeline

_INSERT = BulkInsert(timeline)


def entry_row(process_id: str, now: int, event: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the timeline; fields without a value are left out."""
    present = {name: value for name, value in fields.items() if value is not None}
    return {
        "process_id": key_of(process_id),
        "at": now,
        "event": event,
        "fields": orjson.dumps(present).decode(),
    }


async def write_entries(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Insert ``rows``, possibly none."""
    await _INSERT(connection, rows)
