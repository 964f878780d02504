"""Reads a registration from JSON: a body of the API, or a record of an imported file."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, PydanticCustomError

from reconciler.ledger import Registration, iso
from reconciler.ledger.identifiers import (
    CONTROL_CHARACTERS,
    LONGEST,
    Flaw,
    flaw_of_id,
    flaw_of_text,
)
from reconciler.ledger.policy import MINUTE

_UNREADABLE = "must be UTF-8 without control characters"
_SENTENCES = {
    Flaw.EMPTY: "must not be empty",
    Flaw.TOO_LONG: f"must not be longer than {LONGEST} characters",
    Flaw.HALF_SURROGATE: _UNREADABLE,
    Flaw.CONTROL_CHARACTER: _UNREADABLE,
    Flaw.DOTS: "must not be . or ..",
}


FARTHEST_AHEAD = 5 * MINUTE
"""Clocks of two machines may differ by this much."""


class BadRegistrationError(ValueError):
    """A registration is invalid; the text says why."""


def parse_time(name: str, value: Any) -> int | None:
    """Return an ISO 8601 time with a zone as UTC milliseconds."""
    if value is None:
        return None
    example = "such as 2026-01-31T12:00:00Z"
    try:
        parsed = datetime.fromisoformat(value.upper())  # RFC 3339 allows t and z
        at = None if parsed.tzinfo is None else round(parsed.astimezone(UTC).timestamp() * 1000)
    except (ValueError, AttributeError, OverflowError):
        raise BadRegistrationError(f"{name} is not an ISO 8601 time {example}") from None
    if at is None:
        raise BadRegistrationError(f"{name} has no time zone; write one, {example}")
    return at


def _fit(flaw_of: Callable[[str], Flaw | None]) -> AfterValidator:
    def check(text: str) -> str:
        flaw = flaw_of(text)
        if flaw is not None:
            raise PydanticCustomError("flaw", _SENTENCES[flaw])
        return text

    return AfterValidator(check)


_TEXT = {
    "type": "string",
    "minLength": 1,
    "maxLength": LONGEST,
    "pattern": f"^{CONTROL_CHARACTERS.replace('[', '[^')}*$",
}
Id = Annotated[str, _fit(flaw_of_id), WithJsonSchema({**_TEXT, "not": {"enum": [".", ".."]}})]
Text = Annotated[str, _fit(flaw_of_text), WithJsonSchema(_TEXT)]
CreatedAt = Annotated[
    int | None,
    PlainValidator(lambda value: parse_time("createdAt", value)),
    WithJsonSchema({"type": ["string", "null"], "format": "date-time"}),
]


class RegistrationBody(BaseModel):
    """A process for the ledger, in the names of the JSON."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, title="Registration")

    dossier_id: Id
    process_id: Id
    provider: Text | None = None
    process_type: Text | None = None
    reference: Text | None = None
    created_at: CreatedAt = None


MEMBERS = tuple(str(field.alias) for field in RegistrationBody.model_fields.values())


def registration_from(value: Any, *, by: str, now: int) -> Registration:
    """Return the registration that ``value`` describes, or raise BadRegistrationError.

    A time of creation a little ahead of ``now`` counts as now, when it is put on the ledger.
    """
    try:
        body = RegistrationBody.model_validate(value)
    except ValidationError as error:
        raise BadRegistrationError(_sentence(error.errors(include_url=False))) from None
    if body.created_at is not None and body.created_at > now + FARTHEST_AHEAD:
        raise BadRegistrationError(f"createdAt lies in the future; it is {iso(now)} now")
    return Registration(**dict(body), by=by)


def _sentence(errors: list[ErrorDetails]) -> str:
    """Return the first problem in words; unknown members come first."""
    unknown = sorted(str(each["loc"][0]) for each in errors if each["type"] == "extra_forbidden")
    if unknown:
        return f"unknown member {unknown[0]!r}; known are {', '.join(MEMBERS)}"
    first = errors[0]
    if not first["loc"]:
        return "must be an object with dossierId and processId"
    name = first["loc"][0]
    match first["type"]:
        case "missing":
            return f"{name} is missing"
        case "string_type":
            return f"{name} is missing" if first["input"] is None else f"{name} must be a string"
        case "value_error":  # of parse_time, which names the member itself
            return str(first["ctx"]["error"])
        case _:
            return f"{name} {first['msg']}"
