"""Words each problem of a configuration as one line: the key, its value, what is allowed."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from reconciler.config import schema
from reconciler.config.sources import UrlSecret
from reconciler.config.urls import Url, redacted

Origins = Mapping[tuple[str, ...], str]
"""The environment variable that set a path."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCHEME = re.compile(r"[a-z][a-z0-9+]{0,19}://")
_LONGEST_VALUE = 80
_LONGEST_NUMBER = 256
"""Bits."""

_PHRASES = {
    "missing": "is missing",
    "bool_type": "is not true or false",
    "int_type": "is not a whole number",
    "float_type": "is not a number",
    "string_type": "is not a string",
    "tuple_type": "is not a list",
    "dict_type": "is not a table",
    "model_type": "is not a table",
}
_COLLECTIONS = {"tuple_type", "dict_type", "model_type"}


class ConfigError(Exception):
    """The configuration cannot be used. Each of ``problems`` is one line, without secrets."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def dotted(path: Sequence[str | int]) -> str:
    """Return ``reconcile.ladder[0]`` for ``("reconcile", "ladder", 0)``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part if _BARE.fullmatch(part) else repr(part)}"
    return text.removeprefix(".")


def label(path: Sequence[str | int], variable: str | None) -> str:
    """Return the dotted path, and the environment variable that set it when one did."""
    return f"{dotted(path)} ({variable})" if variable else dotted(path)


def unknown_key(path: Sequence[str | int]) -> str:
    """Return the words for a key that does not exist, with the one that was probably meant."""
    name, near = str(path[-1]), schema.keys_beside(path)
    for match in get_close_matches(name.lower(), near, n=1):
        return f"unknown key; did you mean {dotted((*path[:-1], match))}?"
    elsewhere = {str(known[-1]): known for known in reversed([*schema.every_key()])}
    for match in get_close_matches(name.lower(), elsewhere, n=1):
        return f"unknown key; did you mean {dotted(elsewhere[match])}?"
    return f"unknown key; known here: {', '.join(near)}"


def describe(
    error: ValidationError,
    raw: Mapping[str, Any],
    origins: Origins,
    inherited: frozenset[schema.KeyPath],
) -> list[str]:
    """Return a line for each problem that pydantic found in ``raw``.

    A value that a provider has ``inherited`` is reported only where it was written.
    """
    found = error.errors(include_url=False)
    reported = {(problem["loc"], problem["type"]) for problem in found}
    lines = []
    for problem in found:
        path = problem["loc"]
        is_inherited = any(path[:length] in inherited for length in range(len(path) + 1))
        if not (is_inherited and (("reconcile", *path[3:]), problem["type"]) in reported):
            lines.append(_line(problem, raw, origins))
    return lines


def _line(problem: ErrorDetails, raw: Mapping[str, Any], origins: Origins) -> str:
    kind, path = problem["type"], _as_written(problem["loc"], raw)
    variable = _variable(path, origins)
    if kind == "extra_forbidden":
        return f"{label(path, variable)}: {unknown_key(path)}"
    phrase = _PHRASES.get(kind, problem["msg"])
    if kind == "value_error":
        phrase = str(problem["ctx"]["error"])
    elif kind in {"literal_error", "enum"}:
        phrase = f"is not allowed; write {problem['ctx']['expected']}"
    elif kind in _COLLECTIONS and variable:
        phrase += "; in a variable it is written as JSON"
    value = _shown(problem["input"], kind, path)
    return f"{label(path, variable)}: {value}{value and ' '}{phrase}"


def _as_written(path: schema.KeyPath, raw: Mapping[str, Any]) -> schema.KeyPath:
    """Drop the index of a list that the file writes as its only member."""
    value: Any = raw
    for position, part in enumerate(path):
        if isinstance(part, int) and not isinstance(value, list):
            return path[:position]
        known = isinstance(value, list) or (isinstance(value, dict) and part in value)
        value = value[part] if known else None
    return path


def _variable(path: schema.KeyPath, origins: Origins) -> str | None:
    """Return the variable that set ``path``, a table around it, or (last) a key in it."""
    around = [known for known in origins if path[: len(known)] == known]
    inside = [known for known in origins if known[: len(path)] == path]
    nearest = max(around, key=len, default=None) or next(iter(inside), None)
    return origins[nearest] if nearest else None


def _shown(value: object, kind: str, path: schema.KeyPath) -> str:
    """Return the offending value; of a collection its kind, of a secret nothing."""
    field, _ = schema.locate(path)
    if kind == "missing":
        return ""
    if schema.is_secret(field):
        return _scheme(value) if schema.holds(field, UrlSecret) else ""
    if isinstance(value, (list, tuple, dict)):
        what = "a table" if isinstance(value, dict) else "a list"
        return what if kind.endswith("_type") else ""
    if kind == "model_type":  # what should be a table may be a secret in the wrong place
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER:
        return "a number of very many digits"  # Python refuses to write some of them
    if not isinstance(value, str):
        return str(value)
    if schema.holds(field, Url) and set(value) & set("@?#"):
        value = redacted(value)
    return repr(value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}…")


def _scheme(value: object) -> str:
    """Return the scheme of a URL that may hold a password."""
    match = _SCHEME.match(value) if isinstance(value, str) else None
    return f"'{match[0]}…'" if match else ""
