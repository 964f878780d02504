"""Reading registrations from the outside: the API's JSON, and the lines of ``import``."""

import re
from datetime import UTC, datetime
from typing import Any

from reconciler.ledger import Registration

LONGEST = 255
MEMBERS = ("dossierId", "processId", "provider", "processType", "reference", "createdAt")

CONTROL = r"[\x00-\x1f\x7f-\x9f]"
"""What the listener refuses in a callback: an id that it takes can be registered too."""

_UNFIT = re.compile(rf"{CONTROL}|[\ud800-\udfff]")
"""Half surrogates are how Python reads bytes that are not UTF-8, from a file or a command line."""


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
    return Registration(
        process_id=_id("processId", texts["processId"]),
        dossier_id=_id("dossierId", texts["dossierId"]),
        provider=texts["provider"],
        process_type=texts["processType"],
        reference=texts["reference"],
        created_at=parse_time("createdAt", value.get("createdAt")),
        by=by,
    )


def can_be_id(text: str) -> bool:
    """Tell whether a process on the ledger can have this id; no store need be asked otherwise."""
    try:
        _id("processId", _text("processId", text))
    except BadRegistrationError:
        return False
    return True


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


def _id(name: str, value: str | None) -> str:
    if value is None:
        raise BadRegistrationError(f"{name} is missing")
    if value in (".", ".."):
        raise BadRegistrationError(f"{name} must not be . or ..")
    return value


def _text(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadRegistrationError(f"{name} must be a string")
    if not value:
        raise BadRegistrationError(f"{name} must not be empty")
    if len(value) > LONGEST:
        raise BadRegistrationError(f"{name} must not be longer than {LONGEST} characters")
    if _UNFIT.search(value):
        raise BadRegistrationError(f"{name} must be UTF-8 without control characters")
    return value
