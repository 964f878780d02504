"""A delivery as a row of the outbox."""

from enum import StrEnum
from typing import Any
from uuid import uuid4

import orjson

from reconciler.ledger import DeliveryType, State, TrackedProcess, iso, process_json


class DeliveryState(StrEnum):
    """The states of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up. A person can redeliver it."""


def delivery_row(process: TrackedProcess, kind: DeliveryType, now: int) -> dict[str, Any]:
    """Return the delivery of ``process`` in its present state."""
    body = {"type": kind, "timestamp": iso(now), "data": process_json(process)}
    return {
        "webhook_id": f"msg_{uuid4().hex}",
        "process_id": process.key,
        "type": kind,
        "payload": orjson.dumps(body).decode(),
        "created_at": now,
        "state": DeliveryState.PENDING.value,
        "pending_since": now,
        "attempts": 0,
        "next_attempt_at": now,
        "scheduled_at": now,
    }


def type_of(process: TrackedProcess) -> DeliveryType:
    """Return the type of a delivery of ``process`` in its present state."""
    if process.state is State.GONE:
        return "process.gone"
    if process.state is State.EXPIRED:
        return "process.expired"
    return "process.corrected" if process.revision else "process.settled"
