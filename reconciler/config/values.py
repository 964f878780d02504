"""Checks single values of the file: durations, bounded numbers, paths and statuses.

A marker stands in the ``Annotated`` of a model's field. Its ``ValueError`` continues the line that
``errors.py`` begins with key and value.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import AfterValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from reconciler.ledger.identifiers import LONGEST, Flaw, flaw_of_text
from reconciler.ledger.policy import DAY, HOUR, MINUTE, SECOND

_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": 1}
_DURATION = re.compile("".join(f"(?:([0-9]{{1,12}}){unit}(?![a-z]))?" for unit in _UNITS))
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS = {"dossierId", "processId"}
_EXAMPLES = 'write one such as "30s", "15m", "1h30m" or "7d"'

_QUOTES = ('""', "''", "``", "\u201c\u201d", "\u2018\u2019")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2

T = TypeVar("T")


def parse_duration(text: str) -> int:
    """Return the milliseconds of a duration such as ``"1h30m"``: units from large to small."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"is not a duration; {_EXAMPLES}")
    parts = zip(match.groups(), _UNITS.values(), strict=True)
    return sum(int(count) * size for count, size in parts if count)


def format_duration(ms: int) -> str:
    """Return the canonical text of a duration: ``5400000`` is ``"1h30m"``."""
    text = ""
    for unit, size in _UNITS.items():
        count, ms = divmod(ms, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


@dataclass(frozen=True, slots=True)
class Duration:
    """Marks an ``int`` of milliseconds that the file writes as a duration within these bounds."""

    low: int
    high: int

    def parse(self, value: object) -> int:
        """Return the milliseconds, or raise ``ValueError`` with what is allowed."""
        match value:
            case str():
                ms = parse_duration(value)
            case int() | float() if not isinstance(value, bool):
                raise ValueError(f"is a number without a unit; {_EXAMPLES}")
            case _:
                raise ValueError(f"is not a duration; {_EXAMPLES}")
        if not self.low <= ms <= self.high:
            allowed = f"{format_duration(self.low)} to {format_duration(self.high)}"
            raise ValueError(f"is too {'short' if ms < self.low else 'long'}; allowed is {allowed}")
        return ms

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)


@dataclass(frozen=True, slots=True)
class NeedsRestart:
    """Marks a field that only a start reads: a reload leaves the present value in force.

    The field must stand in a section that cannot be switched off.
    """


def between(low: float, high: float, unit: str = "") -> AfterValidator:
    """Return a validator for a number from ``low`` to ``high``; ``nan`` is never between."""

    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}{unit and ' ' + unit}")
        return value

    return AfterValidator(check)


def above_zero(high: int) -> AfterValidator:
    """Return a validator for a number above zero and at most ``high``."""

    def check(value: float) -> float:
        if not 0 < value <= high:
            raise ValueError(f"must be above 0 and at most {high}")
        return value

    return AfterValidator(check)


def without_newline(text: str) -> str:
    """Return ``text`` without one newline at its end, as editors and ``echo`` add it."""
    return text.removesuffix("\n").removesuffix("\r")


def exact(text: str) -> str:
    """Refuse what an editor, a copy or ``docker --env-file`` leaves around a value.

    It would be sent as a part of it, and the other side would only say that the value is wrong.
    """
    if "\ufeff" in text:
        raise ValueError("has a byte order mark in it; save it without one")
    if text != text.strip():
        what = "newline" if set(text.replace(text.strip(), "")) & set("\r\n") else "blank"
        raise ValueError(f"has a {what} before or after it, which is read as a part of it")
    if text[:1] + text[-1:] in _QUOTES and len(text) > 1:
        raise ValueError("has quotes around it, which are read as a part of it; leave them out")
    if not text.isprintable():
        raise ValueError("has a line break or another control character in it")
    return text


def filled(text: str) -> str:
    """Refuse an empty text, and characters that no path, name or scope has."""
    if not text.strip():
        raise ValueError("must not be empty")
    return exact(text)


def route(text: str) -> str:
    """Refuse anything but the plain path of a URL; the listener answers only there."""
    if not text.startswith("/"):
        raise ValueError('must start with "/"')
    if not text.isascii() or not text.isprintable() or set(text) & set(' ?#{}"<>\\'):
        raise ValueError('must be a plain path, such as "/callbacks/assure"')
    return text


def call_path(text: str) -> str:
    """Refuse a path of the Assure API without ``{dossierId}`` and ``{processId}``."""
    if not text.startswith("/"):
        raise ValueError('must start with "/"')
    names = _PLACEHOLDER.findall(text)
    for name in names:
        if name not in _PLACEHOLDERS:
            raise ValueError(f"has {{{name}}}; known are {{dossierId}} and {{processId}}")
    for name in sorted(_PLACEHOLDERS.difference(names)):
        raise ValueError(f"lacks {{{name}}}")
    rest = _PLACEHOLDER.sub("", text)
    if not rest.isascii() or not rest.isprintable() or set(rest) & set(' #{}"<>\\'):
        raise ValueError('must be a plain path, such as "/dossiers/{dossierId}/{processId}"')
    return text


def status(text: str) -> str:
    """Refuse a status that no callback can carry."""
    filled(text)
    if flaw_of_text(text) is Flaw.TOO_LONG:  # ``filled`` has refused the others
        raise ValueError(f"is longer than {LONGEST} characters")
    return text


def not_empty(items: tuple[T, ...]) -> tuple[T, ...]:
    """Refuse an empty list."""
    if not items:
        raise ValueError("must not be empty")
    return items


def at_most(count: int) -> Callable[[tuple[T, ...]], tuple[T, ...]]:
    """Return a validator for a list of at most ``count``."""

    def check(items: tuple[T, ...]) -> tuple[T, ...]:
        if len(items) > count:
            raise ValueError(f"has {len(items)} members; at most {count} are allowed")
        return items

    return check


def one_or_more(value: object) -> object:
    """Let a single secret stand for a list of one."""
    return [value] if isinstance(value, (str, dict)) else value


def header_names(headers: object) -> object:
    """Refuse a name that no header has, without showing it: it may hold a misplaced value."""
    if isinstance(headers, dict) and not all(_HEADER_NAME.fullmatch(name) for name in headers):
        raise ValueError('has a name that no header can have; write Name = "value"')
    return headers
