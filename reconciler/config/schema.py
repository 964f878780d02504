"""Finds the field that a dotted path names, and tells what it may hold."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from reconciler.config.addresses import ListenAddress
from reconciler.config.models import Section, Settings
from reconciler.config.sources import Secret
from reconciler.config.values import Duration, NeedsRestart

KeyPath = tuple[str | int, ...]


def _classes(annotation: Any) -> Iterator[type]:
    inner = get_args(annotation)
    for part in inner or (annotation,):
        if inner:
            yield from _classes(part)
        elif isinstance(part, type):
            yield part


def holds(field: FieldInfo | None, kind: type) -> bool:
    """Tell whether the value of ``field``, or a member of it, is a ``kind``."""
    return field is not None and any(issubclass(cls, kind) for cls in _classes(field.annotation))


def is_duration(field: FieldInfo) -> bool:
    """Tell whether ``field`` is written as a duration."""
    return any(isinstance(marker, Duration) for marker in field.metadata)


def needs_restart(field: FieldInfo | None) -> bool:
    """Tell whether only a start reads ``field``."""
    return field is not None and any(isinstance(each, NeedsRestart) for each in field.metadata)


def is_text(field: FieldInfo) -> bool:
    """Tell whether ``field`` is written as a string in the file, secrets aside."""
    written = field.annotation
    if isinstance(written, type) and issubclass(written, (str, ListenAddress)):
        return True
    return is_duration(field) or get_origin(written) is Literal


def is_table(field: FieldInfo) -> bool:
    """Tell whether ``field`` has keys of its own: a section, or a table with free names."""
    return holds(field, Section) or get_origin(field.annotation) is dict


def section_of(field: FieldInfo) -> type[Section] | None:
    """Return the model of the table that ``field`` is, or that each of its members is."""
    return next((cls for cls in _classes(field.annotation) if issubclass(cls, Section)), None)


def locate(path: Sequence[str | int]) -> tuple[FieldInfo | None, KeyPath]:
    """Return the deepest key of ``path`` that the models know, and the rest of ``path``.

    The name of a provider is no key: the search goes on behind it.
    """
    section: type[Section] | None = Settings
    field: FieldInfo | None = None
    index = 0
    while index < len(path):
        known = section.model_fields.get(str(path[index])) if section else None
        if known is None:
            break
        field, section, index = known, section_of(known), index + 1
        if section and get_origin(field.annotation) is dict:
            index += 1
    return field, tuple(path[index:])


def keys_beside(path: Sequence[str | int]) -> list[str]:
    """Return the keys that are known where the last one of ``path`` stands."""
    field, _ = locate(path[:-1])
    section = section_of(field) if field else Settings
    return list(section.model_fields) if section else []


def every_key(
    section: type[Section] = Settings, above: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Yield the path of each key and table, but nothing below a name that is free."""
    for name, field in section.model_fields.items():
        path = (*above, name)
        yield path
        inner = section_of(field)
        if inner and get_origin(field.annotation) is not dict:
            yield from every_key(inner, path)


def keys_where(test: Callable[[FieldInfo | None], bool]) -> Iterator[tuple[str, ...]]:
    """Yield the path of each key whose field passes ``test``."""
    return (path for path in every_key() if test(locate(path)[0]))


def is_secret(field: FieldInfo | None) -> bool:
    """Tell whether no value of ``field`` may be shown."""
    return holds(field, Secret)
