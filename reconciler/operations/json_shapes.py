"""The JSON of the contract, for the API, its OpenAPI document and the command line.

The shapes are typed dictionaries: mypy holds the functions to them, and the document is made from
them.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, cast

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict  # pydantic takes Python's own only from 3.12 on

from reconciler.ledger import SettledBy, State, TrackedProcess, iso, process_json
from reconciler.operations.registration import Id
from reconciler.runtime.clock import age
from reconciler.store.actions import Action
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.instances import Instance
from reconciler.store.outbox import OutboxRow
from reconciler.store.views import Counts, Detail

Time = Annotated[str | None, WithJsonSchema({"type": ["string", "null"], "format": "date-time"})]
Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Count = Annotated[int, Field(ge=0)]
BreakerState = Literal["closed", "open", "probing"]


class ProcessJson(TypedDict):
    """A process on the ledger."""

    processId: Id
    dossierId: Id
    provider: str | None
    processType: str | None
    reference: str | None
    state: State
    status: str | None
    settledBy: SettledBy | None
    createdAt: Time
    registeredAt: Time
    callbackAt: Time
    claimedStatus: str | None
    settledAt: Time
    revision: Count
    nextCheckAt: Time
    notifyAttempts: Count
    fetchAttempts: Count
    lastError: str | None
    endedAt: Time


class EntryJson(TypedDict):
    """An entry of a timeline; its other members depend on the event."""

    at: Moment
    event: str


class DetailJson(ProcessJson):
    """A process with its timeline, the oldest entry first."""

    timeline: list[EntryJson]


class PageJson(TypedDict):
    """A page of processes."""

    items: list[ProcessJson]
    nextCursor: str | None


class DeliveryJson(TypedDict):
    """A delivery; its ``id`` is the ``webhook-id`` that the application sees."""

    id: str
    processId: Id
    type: str
    state: DeliveryState
    attempts: Count
    createdAt: Time
    nextAttemptAt: Time
    deliveredAt: Time
    lastError: str | None


class DeliveriesJson(TypedDict):
    """A page of deliveries."""

    items: list[DeliveryJson]
    nextCursor: str | None


class ActionJson(TypedDict):
    """An action of a person; ``processId`` is null where several or none are concerned."""

    at: Moment
    by: str
    action: str
    processId: Id | None
    detail: str | None


class ActionsJson(TypedDict):
    """A page of actions."""

    items: list[ActionJson]
    nextCursor: str | None


class OutboxJson(TypedDict):
    """The outbox in numbers."""

    pending: Count
    dead: Count


class InstanceJson(TypedDict):
    """A live daemon."""

    id: str
    host: str
    pid: Count
    version: str
    startedAt: Time
    heartbeatAt: Time
    breaker: BreakerState


class StatusJson(TypedDict):
    """The ledger in numbers, with breaker, sweep and spool of the live daemons."""

    states: dict[State, Count]
    oldestOverdueSeconds: float | None
    oldestReportedSeconds: float | None
    lastCallbackAt: Time
    lastSweepAt: Time
    breaker: BreakerState | None
    outbox: OutboxJson
    spooled: Count
    instances: list[InstanceJson]


def detail_json(detail: Detail) -> DetailJson:
    """Return a process with its timeline."""
    entries = [{"at": iso(e.at), "event": e.event, **e.fields} for e in detail.timeline]
    return cast(DetailJson, {**process_json(detail.process), "timeline": entries})


def page_json(items: Sequence[TrackedProcess], cursor: str | None) -> PageJson:
    """Return one page of processes."""
    return {
        "items": [cast(ProcessJson, process_json(process)) for process in items],
        "nextCursor": cursor,
    }


def deliveries_json(rows: Sequence[OutboxRow], cursor: str | None) -> DeliveriesJson:
    """Return one page of deliveries."""
    return {"items": [_delivery_json(row) for row in rows], "nextCursor": cursor}


def _delivery_json(row: OutboxRow) -> DeliveryJson:
    return {
        "id": row.webhook_id,
        "processId": row.process_id,
        "type": row.type,
        "state": row.state,
        "attempts": row.attempts,
        "createdAt": iso(row.created_at),
        "nextAttemptAt": iso(row.next_attempt_at),
        "deliveredAt": iso(row.delivered_at),
        "lastError": row.last_error,
    }


def actions_json(found: Sequence[Action], cursor: str | None) -> ActionsJson:
    """Return one page of actions."""
    return {"items": [_action_json(action) for action in found], "nextCursor": cursor}


def _action_json(action: Action) -> ActionJson:
    told = (
        f"{value} {name}" if isinstance(value, int) else str(value)
        for name, value in action.fields.items()
    )
    return {
        "at": cast(str, iso(action.at)),
        "by": action.by,
        "action": action.name,
        "processId": action.process_id,
        "detail": ", ".join(told) or None,
    }


def with_own(own: Instance, live: Sequence[Instance]) -> list[Instance]:
    """Return the live instances with ``own`` as it is now, not as its last heartbeat was."""
    return [own, *(other for other in live if other.instance_id != own.instance_id)]


def status_json(counts: Counts, instances: Sequence[Instance], now: int) -> StatusJson:
    """Return the ledger in numbers."""
    sweeps = [i.last_sweep_at for i in instances if i.last_sweep_at is not None]
    breakers = {_breaker(instance) for instance in instances}
    worst_first: tuple[BreakerState, ...] = ("open", "probing", "closed")
    return {
        "states": cast(dict[State, Count], counts.states),
        "oldestOverdueSeconds": age(counts.overdue_since, now),
        "oldestReportedSeconds": age(counts.reported_since, now),
        "lastCallbackAt": iso(_until(now, counts.last_callback_at)),
        "lastSweepAt": iso(_until(now, max(sweeps, default=None))),
        "breaker": next((state for state in worst_first if state in breakers), None),
        "outbox": {"pending": counts.deliveries_pending, "dead": counts.deliveries_dead},
        "spooled": sum(instance.spooled for instance in instances),
        "instances": [
            {
                "id": instance.instance_id,
                "host": instance.host,
                "pid": instance.pid,
                "version": instance.version,
                "startedAt": iso(instance.started_at),
                "heartbeatAt": iso(instance.heartbeat_at),
                "breaker": _breaker(instance),
            }
            for instance in instances
        ],
    }


def _until(now: int, at: int | None) -> int | None:
    """Return ``at``; ``now`` for a later one, from before the clock was put back."""
    return None if at is None else min(at, now)


def _breaker(instance: Instance) -> BreakerState:
    return cast(BreakerState, instance.breaker)
