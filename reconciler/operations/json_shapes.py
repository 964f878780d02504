"""The JSON of the contract, in one place for the API and the command line."""

from collections.abc import Sequence
from typing import Any

from reconciler.ledger import TrackedProcess, iso, process_json
from reconciler.runtime.clock import age
from reconciler.store.instances import Instance
from reconciler.store.outbox import OutboxRow
from reconciler.store.views import Counts, Detail

Json = dict[str, Any]


def detail_json(detail: Detail) -> Json:
    """Return a process with its timeline, the oldest entry first."""
    entries = [{"at": iso(e.at), "event": e.event, **e.fields} for e in detail.timeline]
    return {**process_json(detail.process), "timeline": entries}


def page_json(items: Sequence[TrackedProcess], cursor: str | None) -> Json:
    """Return one page of processes."""
    return {"items": [process_json(process) for process in items], "nextCursor": cursor}


def delivery_json(row: OutboxRow) -> Json:
    """Return a delivery; its ``id`` is the ``webhook-id`` that the application sees."""
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


def deliveries_json(items: Sequence[OutboxRow], cursor: str | None) -> Json:
    """Return one page of deliveries."""
    return {"items": [delivery_json(row) for row in items], "nextCursor": cursor}


def with_own(own: Instance, live: Sequence[Instance]) -> list[Instance]:
    """Return the live instances with ``own`` as it is now, not as its last heartbeat was."""
    return [own, *(other for other in live if other.instance_id != own.instance_id)]


def status_json(counts: Counts, instances: Sequence[Instance], now: int) -> Json:
    """Return the whole in numbers; breaker, sweep and spool as the live instances say."""
    sweeps = [i.last_sweep_at for i in instances if i.last_sweep_at is not None]
    breakers = {instance.breaker for instance in instances}
    return {
        "states": counts.states,
        "oldestOverdueSeconds": age(counts.overdue_since, now),
        "oldestReportedSeconds": age(counts.reported_since, now),
        "lastCallbackAt": iso(counts.last_callback_at),
        "lastSweepAt": iso(max(sweeps, default=None)),
        "breaker": next((b for b in ("open", "probing", "closed") if b in breakers), None),
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
                "breaker": instance.breaker,
            }
            for instance in instances
        ],
    }
