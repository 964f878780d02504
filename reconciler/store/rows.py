"""Converts a ``TrackedProcess`` to its row and back. Columns are named as the fields."""

from dataclasses import fields
from typing import Any

from sqlalchemy import RowMapping

from reconciler.ledger import Lease, SettledBy, State, TrackedProcess, Verb

_FIELDS = tuple(f.name for f in fields(TrackedProcess) if f.name != "lease")
_ENUMS = {"state": State, "settled_by": SettledBy, "claimed_by": SettledBy, "asked": Verb}
_BOOLEANS = tuple(f.name for f in fields(TrackedProcess) if f.type is bool)


def to_row(process: TrackedProcess) -> dict[str, Any]:
    """Return every column of the row, with the lane, the end and the flattened lease."""
    row = dict(vars(process))
    held: Lease | None = row.pop("lease")
    lane = process.lane
    for name in _ENUMS:
        if row[name] is not None:
            row[name] = row[name].value
    row["lane"] = None if lane is None else lane.value
    row["process_id"] = process.key
    row["spelling"] = None if process.key == process.process_id else process.process_id
    row["recent_calls"] = " ".join(map(str, process.recent_calls)) or None
    row["ended_at"] = process.ended_at
    row["lease_owner"] = held.owner if held else None
    row["lease_verb"] = held.verb.value if held else None
    row["lease_begun_at"] = held.begun_at if held else None
    row["lease_until"] = held.until if held else None
    return row


def from_row(row: RowMapping | dict[str, Any]) -> TrackedProcess:
    """Return the process of a row that ``to_row`` has made. A boolean may be 0 or 1."""
    values = {name: row[name] for name in _FIELDS}
    for name, kind in _ENUMS.items():
        if values[name] is not None:
            values[name] = kind(values[name])
    for name in _BOOLEANS:
        values[name] = bool(values[name])
    values["process_id"] = row["spelling"] or row["process_id"]
    calls = values["recent_calls"]
    values["recent_calls"] = tuple(map(int, calls.split())) if calls else ()
    held = None
    if row["lease_owner"] is not None:
        held = Lease(
            owner=row["lease_owner"],
            verb=Verb(row["lease_verb"]),
            begun_at=row["lease_begun_at"],
            until=row["lease_until"],
        )
    return TrackedProcess(**values, lease=held)
