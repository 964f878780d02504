"""The faults of the simulated Assure: one knob each, every default neutral.

An *API call* is a Get process or a Notify. A *share* is a number from 0 to 1. Which process or
call is hit is decided by the world's seed, the process id and the number of the call, never by
the order in which calls happen to arrive.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from reconciler.simulator.bodies import says
from reconciler.simulator.odd_json import ODDITIES


class FaultError(Exception):
    """A knob that does not exist, or a value that it does not take."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError
    return text


def _known_oddity(name: str) -> str:
    if name not in ODDITIES:
        raise ValueError
    return name


Share = Annotated[float, Field(ge=0, le=1), says("a number from 0 to 1")]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False), says("seconds, 0 or more")]
Count = Annotated[int, Field(ge=0), says("a whole number, 0 or more")]
Switch = Annotated[bool, says("true or false")]
Header = Annotated[str, AfterValidator(_printable), says("printable text")]
Status = Annotated[
    Annotated[int, Field(ge=200, le=599)] | None, says("null or an HTTP status from 200 to 599")
]
Oddity = Annotated[
    Annotated[str, AfterValidator(_known_oddity)],
    says(f'"" or one of {", ".join(filter(None, ODDITIES))}'),
]
Ids = Annotated[set[str], Field(strict=False), says("a list of process ids")]


class Faults(BaseModel):
    """The knobs. Set one by assignment or through `update`, at any moment.

    A wrong value given to the constructor or to `update` raises `FaultError`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    lose_callbacks: Share = 0.0
    """Share of processes whose own callback is never sent."""
    lose_notified: Share = 0.0
    """Share of the callbacks asked for by Notify that are never sent, though Notify said yes."""
    duplicate_callbacks: Share = 0.0
    """Share of callbacks that go out twice at the same moment."""
    callback_delay: Seconds = 0.0
    """Seconds from a finish, or from a Notify, to its callback."""
    wrong_claim: Share = 0.0
    """Share of callbacks that claim another final status than the true one."""
    server_error: Share = 0.0
    """Share of API calls answered 503."""
    throttle: Share = 0.0
    """Share of API calls answered 429 with `Retry-After`."""
    retry_after: Header = "1"
    """The `Retry-After` of those answers as sent: seconds, a date or nonsense; "" for none."""
    forbidden: Ids = set()
    """Process ids whose API calls are answered 403."""
    missing: Ids = set()
    """Process ids whose API calls are answered 404, as after a deletion."""
    unauthorized_once: Count = 0
    """How many of the next API calls are answered 401 whatever their token; counts itself down."""
    hang: Share = 0.0
    """Share of API calls that get no answer until the connection closes."""
    latency: Seconds = 0.0
    """Seconds every API call and token request waits for its answer. The answer is what was true
    when the call arrived, so a requested callback can overtake the answer to its Notify."""
    down: Switch = False
    """Every API call is answered 503."""
    drop: Switch = False
    """Every connection, the token endpoint's too, is closed without an answer."""
    lag: Seconds = 0.0
    """Seconds that Get process still says pending after the first callback went out, or was due
    to go out when it is lost."""
    token_refused: Switch = False
    """The token endpoint answers 401 `invalid_client`."""
    token_down: Switch = False
    """The token endpoint answers 503."""
    notify_status: Status = None
    """The answer to every Notify of a finished process. A 2xx still sends the callback."""
    redirect: Switch = False
    """Every API call is answered 302 to a login page, as behind a wrong gateway."""
    garbage: Switch = False
    """Get process answers 200 with a body that is not JSON."""
    huge: Switch = False
    """Get process answers 200 with 16 MiB of valid JSON, in chunks, without a Content-Length."""

    odd_json: Oddity = ""
    """Answers of Get process and of the token endpoint, and callbacks, are no strict JSON, though
    their members can be read: a byte order mark, a Latin-1 byte and the like."""
    large_headers: Switch = False
    """Every answer has a header of 12,000 bytes, such as a policy that a gateway adds."""
    capital_ids: Switch = False
    """Callbacks spell both ids in capitals."""

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, knobs: Any, handler: Any) -> Any:
        try:
            return handler(knobs)
        except ValidationError as error:
            raise FaultError(_sentence(error.errors(include_url=False)[0])) from None

    def update(self, knobs: Mapping[str, object]) -> None:
        """Set the given knobs, all or none. Raises `FaultError`, which says what is allowed."""
        checked = Faults.model_validate(knobs)
        for name in checked.model_fields_set:
            setattr(self, name, getattr(checked, name))

    def as_json(self) -> dict[str, object]:
        """Return every knob with its value; sets as sorted lists."""
        return {name: sorted(v) if isinstance(v, set) else v for name, v in dict(self).items()}


def _sentence(problem: ErrorDetails) -> str:
    if not problem["loc"]:
        return "not an object of knobs"
    name, known = str(problem["loc"][0]), list(Faults.model_fields)
    if problem["type"] == "extra_forbidden":
        near = get_close_matches(name, known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"unknown knob {name!r}{hint}; known: {', '.join(known)}"
    return f"{name}: {problem['input']!r} is not {problem['msg']}"
