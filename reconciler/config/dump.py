"""Renders the effective configuration, for people and programs, without secrets."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from reconciler.config import schema
from reconciler.config.models import Section, Settings
from reconciler.config.sources import Secret
from reconciler.config.urls import Url
from reconciler.config.values import format_duration

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def effective(settings: Settings) -> dict[str, Any]:
    """Return every key with its value, fit for JSON.

    Durations are canonical strings, a secret is its source or ``[redacted]``, and a URL has no
    user, password or query. A section or key that is off or not set is None.
    """
    return _section(settings)


def _section(section: Section) -> dict[str, Any]:
    fields = type(section).model_fields
    return {name: _shown(getattr(section, name), field) for name, field in fields.items()}


def _shown(value: Any, field: FieldInfo) -> Any:
    match value:
        case Section():
            return _section(value)
        case Secret() | Url():
            return value.shown()
        case dict():
            return {name: _shown(member, field) for name, member in value.items()}
        case tuple():
            return [_shown(member, field) for member in value]
        case int() if schema.is_duration(field):
            return format_duration(value)
        case None | bool() | int() | float():
            return value
        case _:
            return str(value)


def to_toml(shown: Mapping[str, Any]) -> str:
    """Return the result of ``effective`` as TOML; a key without a value becomes a comment."""
    return "\n\n".join("\n".join(_table((name,), section)) for name, section in shown.items())


def _table(path: tuple[str, ...], table: Mapping[str, Any] | None) -> Iterator[str]:
    title = ".".join(_key(part) for part in path)
    if table is None:
        yield f"# [{title}] is off: it has no url"
        return
    yield f"[{title}]"
    for key, value in table.items():
        if value is None:
            yield f"# {_key(key)} is not set"
        elif key != "providers":
            yield f"{_key(key)} = {_value(value)}"
    for name, provider in table.get("providers", {}).items():
        yield ""
        yield from _table((*path, "providers", name), provider)


def _value(value: Any) -> str:
    match value:
        case dict():
            inner = ", ".join(f"{_key(key)} = {_value(member)}" for key, member in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case list():
            return f"[{', '.join(_value(member) for member in value)}]"
        case _:  # JSON writes strings, numbers and switches as TOML does
            return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)
