"""Loads ``Settings`` from a TOML file and the environment, and reports every problem at once."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reconciler.config.environment import overlay
from reconciler.config.errors import ConfigError, describe
from reconciler.config.models import Settings
from reconciler.config.providers import fold_names, inherit

VARIABLE = "RECONCILER_CONFIG"
LOCAL = Path("config/reconciler.toml")
SYSTEM = Path("/etc/reconciler/reconciler.toml")

_POSITION = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)")


def find_config(
    explicit: Path | None, environ: Mapping[str, str], cwd: Path, *, system: Path = SYSTEM
) -> Path:
    """Return the file to read: ``explicit``, the environment's, the local or the system's.

    Raises ``ConfigError`` where a named file is missing, and where none is found.
    """
    if explicit is not None:
        return _named(cwd / explicit, "--config")
    if environ.get(VARIABLE):
        return _named(cwd / environ[VARIABLE], f"${VARIABLE}")
    places = (cwd / LOCAL, system)
    for place in places:
        if _is_there(place):
            return place
    looked = " and ".join(str(place) for place in places)
    raise ConfigError(
        [f"no configuration: looked at {looked}; name one with --config or ${VARIABLE}"]
    )


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Return the settings of the file at ``path``, if any, with the environment's overrides.

    Raises ``ConfigError`` with all problems. Secrets are not resolved.
    """
    raw = _read(path) if path else {}
    problems = fold_names(raw)
    origins, unusable = overlay(raw, environ)
    problems += unusable
    inherited = inherit(raw)
    settings = None
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        problems += describe(error, raw, origins, inherited)
    if settings is None or problems:
        raise ConfigError(problems)
    return settings


def _named(path: Path, by: str) -> Path:
    if not _is_there(path):
        raise ConfigError([f"{path}: no such file (named by {by})"])
    return path


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # something is there that cannot be seen: reading it says why
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: is not UTF-8 text"]) from None
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or a number of too many digits
        raise ConfigError([f"{path}{_fault(str(error), text)}"]) from None
    except RecursionError:
        raise ConfigError([f"{path}: has too many brackets within brackets"]) from None


def _fault(message: str, text: str) -> str:
    """Return ``:line:column: what`` from the message, which names its place at the end."""
    match = _POSITION.fullmatch(message)
    if match is None:
        return f": {message}"
    what, line, column = match.groups()
    if line is None:
        last = text.rstrip("\n").split("\n")
        line, column = str(len(last)), str(len(last[-1]) + 1)
    return f":{line}:{column}: {what}"
