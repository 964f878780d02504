"""A process as JSON: the same for the API, the command line, deliveries and exports."""

from datetime import UTC, datetime

from reconciler.ledger.process import TrackedProcess

ProcessJson = dict[str, str | int | None]


def iso(at: int | None) -> str | None:
    """Return UTC milliseconds as ISO 8601, such as ``2026-01-31T12:00:00.000Z``."""
    if at is None:
        return None
    text = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def process_json(process: TrackedProcess) -> ProcessJson:
    """Return the public members of ``process``."""
    return {
        "processId": process.process_id,
        "dossierId": process.dossier_id,
        "provider": process.provider,
        "processType": process.process_type,
        "reference": process.reference,
        "state": process.state,
        "status": process.status,
        "settledBy": process.settled_by,
        "createdAt": iso(process.created_at),
        "registeredAt": iso(process.registered_at),
        "callbackAt": iso(process.callback_at),
        "claimedStatus": process.claimed_status,
        "settledAt": iso(process.settled_at),
        "revision": process.revision,
        "nextCheckAt": iso(process.next_check_at),
        "notifyAttempts": process.notify_attempts,
        "fetchAttempts": process.fetch_attempts,
        "lastError": process.last_error,
        "endedAt": iso(process.ended_at),
    }
