"""Writing timelines."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.store.bulk import BulkInsert
from reconciler.store.schema import timeline

_INSERT = BulkInsert(timeline)


def entry_row(process_id: str, now: int, event: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a timeline row; members without a value are left out."""
    told = {name: value for name, value in fields.items() if value is not None}
    return {
        "process_id": process_id,
        "at": now,
        "event": event,
        "fields": orjson.dumps(told).decode(),
    }


async def write_entries(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Insert ``rows``, if there are any."""
    await _INSERT(connection, rows)
