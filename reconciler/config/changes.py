"""Compares two readings of the configuration and tells what a reload can take on.

Pure. A reload takes on every key but those whose field has the mark ``NeedsRestart``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from reconciler.config.errors import dotted
from reconciler.config.models import Section, Settings
from reconciler.config.schema import is_secret, keys_where, needs_restart
from reconciler.config.secrets import Secrets, attribute_of

NEEDS_RESTART: Final = frozenset(map(dotted, keys_where(needs_restart)))
"""Keys that only a start reads. A credential of systemd cannot change without one either."""

_SECRETS: Final = {dotted(path): attribute_of(path) for path in keys_where(is_secret)}
"""The attribute of ``Secrets`` for each key: the value is compared, not its source."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """One reading of the configuration: the settings, and the secrets that they point to."""

    settings: Settings
    secrets: Secrets = field(repr=False)
    files: Mapping[str, str]
    """By dotted key, a fingerprint of the file that the key names."""


@dataclass(frozen=True, slots=True)
class Change:
    """The difference between two readings. Names are dotted keys, without values."""

    configuration: Configuration
    """The new reading, with the old value of each key that needs a restart."""
    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]
    """Keys that differ in the file and keep their present value until a restart."""

    def touches(self, *keys: str) -> bool:
        """Tell whether one of ``keys``, or a key below one, has changed."""
        return any(is_at(name, key) or is_at(key, name) for name in self.changed for key in keys)


def compare(present: Configuration, read: Configuration) -> Change:
    """Return the change from ``present`` to ``read``, as far as a reload can make it."""
    differing = _differing(_flat(present), _flat(read))
    out_of_reach = {_key_of(name) for name in read.secrets.unchecked}
    stay = {*NEEDS_RESTART & differing, *out_of_reach}
    if "admin.listen" in stay and "admin.token" in differing:
        stay.add("admin.token")  # the old address must not be left without the token that it needs
    settings, secrets = read.settings, read.secrets
    for key in stay:
        settings = _put_back(settings, present.settings, tuple(key.split(".")))
        if key in _SECRETS:
            attribute = _SECRETS[key]
            secrets = replace(secrets, **{attribute: getattr(present.secrets, attribute)})
    held = {**read.secrets.credentials, **present.secrets.credentials}
    secrets = replace(secrets, credentials=held, unchecked=())
    result = Configuration(settings, secrets, read.files)
    changed = sorted(_differing(_flat(present), _flat(result)))
    return Change(result, tuple(changed), tuple(sorted(stay)))


def is_at(name: str, key: str) -> bool:
    """Tell whether ``name`` is ``key`` or stands below it."""
    return name == key or name.startswith(f"{key}.")


def _flat(configuration: Configuration) -> dict[str, Any]:
    flat = dict(_members(configuration.settings, ()))
    for key, attribute in _SECRETS.items():
        if key in flat:
            flat[key] = getattr(configuration.secrets, attribute)
    for key, content in configuration.files.items():
        if key in flat:
            flat[key] = (flat[key], content)
    return flat


def _members(section: Section, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield each key with its value; a table has the value True."""
    for name in type(section).model_fields:
        at, value = (*path, name), getattr(section, name)
        tables = {at: value}
        if isinstance(value, dict) and all(isinstance(each, Section) for each in value.values()):
            tables = {(*at, inner): table for inner, table in value.items()}
        for place, table in tables.items():
            yield dotted(place), True if isinstance(table, Section) else table
            if isinstance(table, Section):
                yield from _members(table, place)


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    """Return the keys that differ; a table on one side only stands for its members."""
    missing = object()
    names = {name for name in {*one, *other} if one.get(name, missing) != other.get(name, missing)}
    return {name for name in names if not any(is_at(name, above) for above in names - {name})}


def _key_of(name: str) -> str:
    """Return the key in which the secret ``name`` is a member, such as ``delivery.headers``."""
    return next(key for key in _SECRETS if is_at(name.partition("[")[0], key))


def _put_back(new: Section, old: Section, path: tuple[str, ...]) -> Any:
    """Return ``new`` with the value that ``old`` has at ``path``."""
    name, *rest = path
    value, before = getattr(new, name), getattr(old, name)
    if rest and isinstance(value, Section) and isinstance(before, Section):
        before = _put_back(value, before, tuple(rest))
    return new.model_copy(update={name: before})
