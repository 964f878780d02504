"""Applies overrides from the environment: ``RECONCILER_STORE__URL`` is ``store.url``.

Own code instead of ``pydantic-settings``, which reads only ``os.environ``, ignores variables of
unknown sections in silence, and does not say which variable a wrong value came from.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

from reconciler.config import schema
from reconciler.config.errors import label, unknown_key
from reconciler.config.models import Settings
from reconciler.config.values import without_newline

PREFIX = "RECONCILER_"
DELIMITER = "__"


def overlay(
    raw: dict[str, Any], environ: Mapping[str, str]
) -> tuple[dict[tuple[str, ...], str], list[str]]:
    """Write the overrides into ``raw``. Return the variable of each path set, and the problems.

    A table given as JSON replaces the whole table; longer names then refine it.
    """
    origins: dict[tuple[str, ...], str] = {}
    problems: list[str] = []
    for path, variable in sorted(_overrides(environ), key=lambda override: len(override[0])):
        field, beyond = schema.locate(path)
        value, at = _decoded(field, without_newline(environ[variable])), path
        if field and beyond and schema.is_secret(field) and not schema.is_table(field):
            value, at = {".".join(map(str, beyond)): value}, path[: -len(beyond)]
        elif field and beyond and schema.is_secret(field):
            whole = path[: -len(beyond)]
            problems.append(
                f"{label(path, variable)}: cannot be set by itself; write all of "
                f"{'.'.join(whole)} as JSON in {PREFIX}{DELIMITER.join(whole).upper()}"
            )
            continue
        elif field and beyond and not schema.is_table(field):
            problems.append(f"{label(path, variable)}: {unknown_key(path)}")
            continue
        if _put(raw, at, value):
            origins[at] = variable
    return origins, problems


def _overrides(environ: Mapping[str, str]) -> list[tuple[tuple[str, ...], str]]:
    """Return path and variable of each override.

    A name without a delimiter is one only if it names a section: ``RECONCILER_CONFIG`` is none,
    and others may belong to other programs.
    """
    found = []
    for variable in sorted(environ):
        if variable.startswith(PREFIX):
            path = tuple(variable.removeprefix(PREFIX).lower().split(DELIMITER))
            if len(path) > 1 or path[0] in Settings.model_fields:
                found.append((path, variable))
    return found


def _decoded(field: FieldInfo | None, text: str) -> Any:
    """Read lists, tables, numbers and switches as JSON; the models report anything else."""
    if field is None or schema.is_text(field):
        return text
    if schema.is_secret(field) and not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _put(raw: dict[str, Any], path: tuple[str, ...], value: Any) -> bool:
    """Set ``path``; return False where a table above it is none, which the models report."""
    table = raw
    for part in path[:-1]:
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            return False
        table = inner
    table[path[-1]] = value
    return True
