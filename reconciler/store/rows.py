"""Between ``TrackedProcess`` and its row. The columns bear the names of the fields."""

from dataclasses import fields
from typing import Any

from sqlalchemy import RowMapping

from reconciler.ledger import Lease, SettledBy, State, TrackedProcess, Verb

_FIELDS = tuple(f.name for f in fields(TrackedProcess) if f.name != "lease")
_ENUMS = {"state": State, "settled_by": SettledBy, "claimed_by": SettledBy, "asked": Verb}


def to_row(process: TrackedProcess) -> dict[str, Any]:
    """Return every column of the row, the lane and the flattened lease included."""
    row = {name: getattr(process, name) for name in _FIELDS}
    for name in _ENUMS:
        row[name] = None if row[name] is None else str(row[name])
    held = process.lease
    row["lane"] = None if process.lane is None else int(process.lane)
    row["lease_owner"] = held.owner if held else None
    row["lease_verb"] = str(held.verb) if held else None
    row["lease_begun_at"] = held.begun_at if held else None
    row["lease_until"] = held.until if held else None
    return row


def from_row(row: RowMapping) -> TrackedProcess:
    """Return the process that ``to_row`` has written."""
    values = {name: row[name] for name in _FIELDS}
    for name, kind in _ENUMS.items():
        values[name] = None if values[name] is None else kind(values[name])
    held = None
    if row["lease_owner"] is not None:
        held = Lease(
            owner=row["lease_owner"],
            verb=Verb(row["lease_verb"]),
            begun_at=row["lease_begun_at"],
            until=row["lease_until"],
        )
    return TrackedProcess(**values, lease=held)
