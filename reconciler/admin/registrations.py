"""Reading registrations from the outside: the API's JSON, and the lines of ``import``."""

from datetime import UTC, datetime
from typing import Any

from reconciler.ledger import Registration

LONGEST = 255
MEMBERS = ("dossierId", "processId", "provider", "processType", "reference", "createdAt")


class BadRegistrationError(ValueError):
    """What is wrong with a registration, in words for whoever wrote it."""


def registration_from(value: Any, *, by: str) -> Registration:
    """Return the registration that ``value`` describes, or raise BadRegistrationError."""
    if not isinstance(value, dict):
        raise BadRegistrationError("must be an object with dossierId and processId")
    unknown = sorted(value.keys() - set(MEMBERS))
    if unknown:
        raise BadRegistrationError(f"unknown member {unknown[0]!r}; known are {', '.join(MEMBERS)}")
    texts = {name: _text(name, value.get(name)) for name in MEMBERS[:-1]}
    for name in ("dossierId", "processId"):
        if texts[name] is None:
            raise BadRegistrationError(f"{name} is missing")
        if texts[name] in (".", ".."):
            raise BadRegistrationError(f"{name} must not be . or ..")
    return Registration(
        process_id=texts["processId"] or "",
        dossier_id=texts["dossierId"] or "",
        provider=texts["provider"],
        process_type=texts["processType"],
        reference=texts["reference"],
        created_at=parse_time("createdAt", value.get("createdAt")),
        by=by,
    )


def parse_time(name: str, value: Any) -> int | None:
    """Return an ISO 8601 time with a zone as UTC milliseconds."""
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(value)
        at = round(parsed.astimezone(UTC).timestamp() * 1000)
    except (ValueError, TypeError, OverflowError):
        example = "2026-01-31T12:00:00Z"
        raise BadRegistrationError(f"{name} is not an ISO 8601 time such as {example}") from None
    if parsed.tzinfo is None:
        raise BadRegistrationError(f"{name} has no time zone; write one, such as {value}Z")
    return at


def _text(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadRegistrationError(f"{name} must be a string")
    if not value:
        raise BadRegistrationError(f"{name} must not be empty")
    if len(value) > LONGEST:
        raise BadRegistrationError(f"{name} must not be longer than {LONGEST} characters")
    if not value.isprintable():
        raise BadRegistrationError(f"{name} must not have control characters")
    return value
