"""Reading registrations from the outside: the API's JSON, and the lines of ``import``."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from reconciler.ledger import Registration
from reconciler.ledger.identifiers import LONGEST, Flaw, flaw_of_id, flaw_of_text

MEMBERS = ("dossierId", "processId", "provider", "processType", "reference", "createdAt")

_UNREADABLE = "must be UTF-8 without control characters"
_SENTENCES = {
    Flaw.EMPTY: "must not be empty",
    Flaw.TOO_LONG: f"must not be longer than {LONGEST} characters",
    Flaw.HALF_SURROGATE: _UNREADABLE,
    Flaw.CONTROL_CHARACTER: _UNREADABLE,
    Flaw.DOTS: "must not be . or ..",
}


class BadRegistrationError(ValueError):
    """What is wrong with a registration, in words for whoever wrote it."""


def registration_from(value: Any, *, by: str) -> Registration:
    """Return the registration that ``value`` describes, or raise BadRegistrationError."""
    if not isinstance(value, dict):
        raise BadRegistrationError("must be an object with dossierId and processId")
    unknown = sorted(value.keys() - set(MEMBERS))
    if unknown:
        raise BadRegistrationError(f"unknown member {unknown[0]!r}; known are {', '.join(MEMBERS)}")
    return Registration(
        process_id=_id("processId", value.get("processId")),
        dossier_id=_id("dossierId", value.get("dossierId")),
        provider=_text("provider", value.get("provider")),
        process_type=_text("processType", value.get("processType")),
        reference=_text("reference", value.get("reference")),
        created_at=parse_time("createdAt", value.get("createdAt")),
        by=by,
    )


def parse_time(name: str, value: Any) -> int | None:
    """Return an ISO 8601 time with a zone as UTC milliseconds."""
    if value is None:
        return None
    example = "such as 2026-01-31T12:00:00Z"
    try:
        parsed = datetime.fromisoformat(value)
        at = None if parsed.tzinfo is None else round(parsed.astimezone(UTC).timestamp() * 1000)
    except (ValueError, TypeError, OverflowError):
        raise BadRegistrationError(f"{name} is not an ISO 8601 time {example}") from None
    if at is None:
        raise BadRegistrationError(f"{name} has no time zone; write one, {example}")
    return at


def _id(name: str, value: Any) -> str:
    if value is None:
        raise BadRegistrationError(f"{name} is missing")
    return _fit(name, value, flaw_of_id)


def _text(name: str, value: Any) -> str | None:
    return None if value is None else _fit(name, value, flaw_of_text)


def _fit(name: str, value: Any, flaw_of: Callable[[str], Flaw | None]) -> str:
    if not isinstance(value, str):
        raise BadRegistrationError(f"{name} must be a string")
    flaw = flaw_of(value)
    if flaw is not None:
        raise BadRegistrationError(f"{name} {_SENTENCES[flaw]}")
    return value
