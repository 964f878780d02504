"""One delivery as it is written: what is told, and where it stands."""

from enum import StrEnum
from typing import Any
from uuid import uuid4

import orjson

from reconciler.ledger import DeliveryType, State, TrackedProcess, iso, process_json


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up; a person can have it sent again."""


def delivery_row(process: TrackedProcess, kind: DeliveryType, now: int) -> dict[str, Any]:
    """Return the row that tells the application of ``process`` as it stands."""
    body = {"type": kind, "timestamp": iso(now), "data": process_json(process)}
    return {
        "webhook_id": f"msg_{uuid4().hex}",
        "process_id": process.process_id,
        "type": kind,
        "payload": orjson.dumps(body).decode(),
        "created_at": now,
        "state": DeliveryState.PENDING.value,
        "pending_since": now,
        "attempts": 0,
        "next_attempt_at": now,
    }


def type_of(process: TrackedProcess) -> DeliveryType:
    """Return the kind of news that ``process`` is, as it stands."""
    if process.state is State.GONE:
        return "process.gone"
    if process.state is State.EXPIRED:
        return "process.expired"
    return "process.corrected" if process.revision else "process.settled"
