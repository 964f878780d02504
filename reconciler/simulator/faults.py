"""What can go wrong on the far side: one knob a fault, every default neutral.

An *API call* is a Get process or a Notify. A *share* is a number from 0 to 1. Which process or
call is hit is decided by the world's seed, the process id and the number of the call, never by
the order in which calls happen to arrive.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, TypeGuard


class FaultError(ValueError):
    """A knob that does not exist, or a value that it does not take."""


def _share(value: object) -> float:
    if _is_number(value) and 0 <= value <= 1:
        return float(value)
    raise ValueError("a number from 0 to 1")


def _seconds(value: object) -> float:
    if _is_number(value) and 0 <= value < float("inf"):
        return float(value)
    raise ValueError("seconds, 0 or more")


def _count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError("a whole number, 0 or more")


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("true or false")


def _header(value: object) -> str:
    if isinstance(value, str) and value.isprintable():
        return value
    raise ValueError("printable text")


def _status(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and 200 <= value <= 599:
        return value
    raise ValueError("null or an HTTP status from 200 to 599")


def _ids(value: object) -> set[str]:
    if isinstance(value, (set, frozenset, list, tuple)) and all(isinstance(i, str) for i in value):
        return set(value)
    raise ValueError("a list of process ids")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _knob(default: object, check: Callable[[object], object]) -> Any:
    """A field whose metadata holds its check."""
    return field(default=default, metadata={"check": check})


@dataclass(slots=True)
class Faults:
    """The knobs. Set one by assignment or through `update`, at any moment.

    A wrong value given to the constructor or to `update` raises `FaultError`.
    """

    lose_callbacks: float = _knob(0.0, _share)
    """Share of processes whose own callback is never sent."""
    lose_notified: float = _knob(0.0, _share)
    """Share of the callbacks asked for by Notify that are never sent, though Notify said yes."""
    duplicate_callbacks: float = _knob(0.0, _share)
    """Share of callbacks that go out twice at the same moment."""
    callback_delay: float = _knob(0.0, _seconds)
    """Seconds from a finish, or from a Notify, to its callback."""
    wrong_claim: float = _knob(0.0, _share)
    """Share of callbacks that claim another final status than the true one."""
    server_error: float = _knob(0.0, _share)
    """Share of API calls answered 503."""
    throttle: float = _knob(0.0, _share)
    """Share of API calls answered 429 with `Retry-After`."""
    retry_after: str = _knob("1", _header)
    """The `Retry-After` of those answers as sent: seconds, a date or nonsense; "" for none."""
    forbidden: set[str] = field(default_factory=set, metadata={"check": _ids})
    """Process ids whose API calls are answered 403."""
    missing: set[str] = field(default_factory=set, metadata={"check": _ids})
    """Process ids whose API calls are answered 404, as after a deletion."""
    unauthorized_once: int = _knob(0, _count)
    """How many of the next API calls are answered 401 whatever their token; counts itself down."""
    hang: float = _knob(0.0, _share)
    """Share of API calls that get no answer until the connection closes."""
    latency: float = _knob(0.0, _seconds)
    """Seconds every API call and token request waits for its answer. The answer is what was true
    when the call arrived, so a requested callback can overtake the answer to its Notify."""
    down: bool = _knob(False, _switch)
    """Every API call is answered 503."""
    drop: bool = _knob(False, _switch)
    """Every connection, the token endpoint's too, is closed without an answer."""
    lag: float = _knob(0.0, _seconds)
    """Seconds that Get process still says pending after the first callback went out, or was due
    to go out when it is lost."""
    token_refused: bool = _knob(False, _switch)
    """The token endpoint answers 401 `invalid_client`."""
    token_down: bool = _knob(False, _switch)
    """The token endpoint answers 503."""
    notify_status: int | None = _knob(None, _status)
    """The answer to every Notify of a finished process. A 2xx still sends the callback."""
    redirect: bool = _knob(False, _switch)
    """Every API call is answered 302 to a login page, as behind a wrong gateway."""
    garbage: bool = _knob(False, _switch)
    """Get process answers 200 with a body that is not JSON."""
    huge: bool = _knob(False, _switch)
    """Get process answers 200 with 16 MiB of valid JSON, in chunks, without a Content-Length."""

    def __post_init__(self) -> None:
        self.update({knob.name: getattr(self, knob.name) for knob in fields(self)})

    def update(self, knobs: Mapping[str, object]) -> None:
        """Set the given knobs, all or none; `FaultError` says what is wrong and what is allowed."""
        checks = {knob.name: knob.metadata["check"] for knob in fields(self)}
        accepted: dict[str, object] = {}
        for name, value in knobs.items():
            if name not in checks:
                near = get_close_matches(name, checks, n=1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                raise FaultError(f"unknown knob {name!r}{hint}; known: {', '.join(checks)}")
            try:
                accepted[name] = checks[name](value)
            except ValueError as allowed:
                raise FaultError(f"{name}: {value!r} is not {allowed}") from None
        for name, value in accepted.items():
            setattr(self, name, value)

    def as_json(self) -> dict[str, object]:
        """Every knob with its value; sets as sorted lists."""
        values = {knob.name: getattr(self, knob.name) for knob in fields(self)}
        return {name: sorted(v) if isinstance(v, set) else v for name, v in values.items()}
