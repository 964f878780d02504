"""The rule of what an id or a status may be, wherever one comes from.

Every room that reads one asks here, so an id that the listener takes can be registered too.
"""

import re
from enum import StrEnum

LONGEST = 255
"""Characters of an id or a status."""

CONTROL_CHARACTERS = r"[\x00-\x1f\x7f-\x9f]"
"""The control characters, as a regular expression."""

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_CONTROL = re.compile(CONTROL_CHARACTERS)
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class Flaw(StrEnum):
    """Why a text is no id or no status."""

    EMPTY = "empty"
    TOO_LONG = "too_long"
    HALF_SURROGATE = "half_surrogate"
    """How Python reads bytes that are not UTF-8, from a file or a command line."""
    CONTROL_CHARACTER = "control_character"
    DOTS = "dots"
    """An id ``.`` or ``..``, which the path of a URL cannot hold."""


def flaw_of_text(text: str) -> Flaw | None:
    """Return why ``text`` is no status, provider or other word of a process; None where it is."""
    if not text:
        return Flaw.EMPTY
    if len(text) > LONGEST:
        return Flaw.TOO_LONG
    if not text.isascii() and _SURROGATE.search(text):
        return Flaw.HALF_SURROGATE
    return Flaw.CONTROL_CHARACTER if _CONTROL.search(text) else None


def flaw_of_id(text: str) -> Flaw | None:
    """Return why ``text`` is no id of a process or a dossier; None where it is."""
    return Flaw.DOTS if text in (".", "..") else flaw_of_text(text)


def key_of(text: str) -> str:
    """Return what ``text`` is known by: a UUID has no letter case, any other id is exact."""
    lowered = text.lower()
    if lowered == text or not text.isascii():
        return text
    return lowered if _UUID.fullmatch(lowered) else text


def same_id(one: str, other: str) -> bool:
    """Tell whether two ids are the same."""
    return one == other or key_of(one) == key_of(other)


def can_be_id(text: str) -> bool:
    """Tell whether a process on the ledger can have this id; no store need be asked otherwise."""
    return flaw_of_id(text) is None
