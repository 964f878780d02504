"""What differs between two readings of the configuration, and what of it a reload takes on.

Pure: ``daemon/reload.py`` reads, ``Service.reload`` applies. Every key stands in one of the
two tables below; a test holds them against the models, so that a new key must be thought about.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from reconciler.config.errors import dotted
from reconciler.config.models import Section, Settings
from reconciler.config.secrets import Secrets

RESTART: Final = frozenset(
    {
        "admin.listen",
        "listener.host",
        "listener.port",
        "log.format",
        "store.migrate_on_start",
        "store.spool",
        "store.url",
    }
)
"""Keys that only a start reads. A credential of systemd cannot change without one either."""

_WAITS = ("initial", "factor", "max", "jitter")
RELOAD: Final = frozenset(
    {
        *(f"listener.{key}" for key in ("path", "authorization", "allow_from", "trusted_proxies")),
        *(f"listener.{key}" for key in ("max_body", "unknown_process")),
        *(f"listener.tls.{key}" for key in ("certificate", "key")),
        "admin.token",
        *(f"assure.{key}" for key in ("base_url", "token_url", "client_id", "client_secret")),
        *(f"assure.{key}" for key in ("scope", "process_path", "notify_path", "notify_method")),
        *(f"assure.{key}" for key in ("timeout", "max_concurrency", "requests_per_second")),
        *(f"assure.{key}" for key in ("proxy", "ca_file", "final_statuses", "pending_statuses")),
        *(f"reconcile.{key}" for key in ("callback_timeout", "sweep_interval", "ladder")),
        *(f"reconcile.{key}" for key in ("notify_grace", "confirm_callbacks", "give_up_after")),
        *(f"reconcile.backoff.{key}" for key in _WAITS),
        "reconcile.providers",
        *(f"delivery.{key}" for key in ("url", "secret", "headers", "timeout", "give_up_after")),
        *(f"delivery.{key}" for key in ("max_concurrency", "proxy", "ca_file")),
        *(f"delivery.backoff.{key}" for key in _WAITS),
        *(f"heartbeat.{key}" for key in ("url", "interval")),
        *(f"retention.{key}" for key in ("settled", "callbacks")),
        "log.level",
    }
)
"""Keys that a reload takes on."""

_RESOLVED: Final = {
    "store.url": "store_url",
    "listener.authorization": "authorization",
    "admin.token": "admin_token",
    "assure.client_secret": "client_secret",
    "assure.proxy": "assure_proxy",
    "delivery.secret": "delivery_secrets",
    "delivery.headers": "delivery_headers",
    "delivery.proxy": "delivery_proxy",
    "heartbeat.url": "heartbeat_url",
}
"""Where ``Secrets`` has the value of a key: compared is the value, not from where it came."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """One reading: what was written, and what that pointed to."""

    settings: Settings
    secrets: Secrets = field(repr=False)
    files: Mapping[str, str]
    """What stands for the content of the file that a key names, by dotted key."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a reload does. Names are dotted keys, without values."""

    configuration: Configuration
    """What is to be in effect: the new reading, with the old value of what cannot change."""
    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]
    """What was changed in the file and stays as it was until a restart."""

    def touches(self, *keys: str) -> bool:
        """Tell whether one of ``keys``, or a key below one, has changed."""
        return any(is_at(name, key) or is_at(key, name) for name in self.changed for key in keys)


def compare(present: Configuration, read: Configuration) -> Change:
    """Return what turns ``present`` into ``read``, as far as that can be done at run time."""
    differing = _differing(_flat(present), _flat(read))
    out_of_reach = {_key_of(name) for name in read.secrets.unchecked}
    stay = {*RESTART & differing, *out_of_reach}
    if "admin.listen" in stay and "admin.token" in differing:
        stay.add("admin.token")  # the old address must not be left without the token that it needs
    settings, secrets = read.settings, read.secrets
    for key in stay:
        settings = _put_back(settings, present.settings, tuple(key.split(".")))
        if key in _RESOLVED:
            attribute = _RESOLVED[key]
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
    for key, attribute in _RESOLVED.items():
        if key in flat:
            flat[key] = getattr(configuration.secrets, attribute)
    for key, content in configuration.files.items():
        if key in flat:
            flat[key] = (flat[key], content)
    return flat


def _members(section: Section, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield each key with its value; of a table, that it is there."""
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
    """Return the keys that differ; a table that is only on one side stands for its members."""
    missing = object()
    names = {name for name in {*one, *other} if one.get(name, missing) != other.get(name, missing)}
    return {name for name in names if not any(is_at(name, above) for above in names - {name})}


def _key_of(name: str) -> str:
    """Return the key in which ``name`` is a member: ``delivery.headers`` for one of them."""
    known: Collection[str] = RESTART | RELOAD
    return next(key for key in known if is_at(name.partition("[")[0], key))


def _put_back(new: Section, old: Section, path: tuple[str, ...]) -> Any:
    """Return ``new`` with the value that ``old`` has at ``path``."""
    name, *rest = path
    value, before = getattr(new, name), getattr(old, name)
    if rest and isinstance(value, Section) and isinstance(before, Section):
        before = _put_back(value, before, tuple(rest))
    return new.model_copy(update={name: before})
