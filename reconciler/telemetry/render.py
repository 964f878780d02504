"""The two forms of a log line, both as bytes, both one line whatever the values are."""

import re
import time
from collections.abc import MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
from structlog.dev import ConsoleRenderer

LONGEST_LINE = 48 * 1024
"""Bytes. journald splits a longer one."""

_RAW_IN_JSON = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_TRACEBACK_KEYS = frozenset({"exc_info", "exception", "stack"})


def stamp(_logger: object, level: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """Put timestamp (UTC, milliseconds), level and event first; no field can replace them."""
    now = time.time_ns() // 1_000_000
    at = f"{_second(now // 1000)}.{now % 1000:03}Z"
    line = {"timestamp": at, "level": level, "event": "", **event}
    if line["timestamp"] is not at or line["level"] is not level:
        line |= {"timestamp": at, "level": level}
    return line


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    """Return UTC seconds as ISO 8601; many lines are of the same second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:-6]


def json_line(_logger: object, _level: str, event: MutableMapping[str, Any]) -> bytes:
    """Return one JSON object and a newline; fields that make it too long lose their value."""
    line = _dump(event)
    return (line if len(line) < LONGEST_LINE else _dump(_shortened(event))) + b"\n"


class ConsoleLine:
    """One line for a person at a terminal."""

    def __init__(self, *, colors: bool) -> None:
        self._renderer = ConsoleRenderer(colors=colors, sort_keys=False)

    def __call__(self, logger: object, level: str, event: MutableMapping[str, Any]) -> bytes:
        """Return the line; control characters in keys and values are shown as escapes."""
        shown: dict[str, Any] = {}
        for key, value in event.items():
            # The renderer puts these, if they are there, on lines of their own.
            name = f"{key}_" if key in _TRACEBACK_KEYS else _printable(key)
            shown[name] = _printable(value) if isinstance(value, str) else value
        return f"{self._renderer(logger, level, shown)}\n".encode()


def _dump(value: object) -> bytes:
    """Return JSON without any character that a terminal or a line reader takes as a command."""
    line = orjson.dumps(value)
    if line.isascii() and b"\x7f" not in line:
        return line
    return _RAW_IN_JSON.sub(lambda raw: f"\\u{ord(raw[0]):04x}", line.decode()).encode()


def _shortened(event: MutableMapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    room = LONGEST_LINE - len("{}\n")
    for key, value in event.items():
        shown = value if len(_dump({key: value})) <= room else "[too long]"
        size = len(_dump({key: shown}))
        if size > room:
            break
        kept[key] = shown
        room -= size
    return kept


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
