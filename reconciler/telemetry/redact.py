"""Takes secrets out of log lines, and whatever JSON cannot hold.

A value under a name such as ``authorization`` is never shown. A secret that the configuration
resolved is masked wherever it occurs. In text that others wrote, anything that looks like a
credential (userinfo of a URL, ``Bearer x``, ``whsec_x``, ``password=x``) is masked too.

The reasons: docs/decisions/030.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence, Set
from enum import Enum
from functools import lru_cache
from itertools import islice
from typing import Any
from urllib.parse import quote, quote_plus

import orjson

MASK = "[redacted]"

SHORTEST_SECRET = 8
"""Characters. A shorter one would be masked inside innocent words and ids."""

LONGEST_TEXT = 4096
"""Characters of one value that are shown."""

_LEAST, _MOST = -(2**63), 2**64 - 1
"""The integers that our JSON can hold."""

MOST_ITEMS = 100
DEEPEST = 6

TEXTS_OF_OTHERS = frozenset({"error", "message", "now", "problems", "reason", "was"})
"""Fields with the text of a library, of an exception, of the configuration or of a registration.
Every other field that is a plain string holds a word or an id: a status "basic check" is shown."""

_SECRET_WORDS = (
    "apikey", "authorization", "cookie", "credential", "passphrase", "passwd", "password",
    "privatekey", "secret", "token",
)  # fmt: skip
_SECRET_NAMES = frozenset({"auth", "body", "payload", "pwd", "requestbody", "responsebody"})

_LOOKS_SECRET = (
    # Greedy, up to the last "@": a password may hold one, and a slash too.
    (re.compile(r"""(://)[^\s/@"'<>?#:]*(?::[^\s"'<>]*)?@"""), rf"\1{MASK}@"),
    (re.compile(r"""\b(bearer|basic)\s+[^\s"',;<>]+""", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"whsec_[\w+/=-]+"), MASK),
    (
        re.compile(
            r"""(authorization|cookie|passwd|password|secret|token|api[_-]?key)"""
            r"""((?:\\*["']?\s*[:=]|\\*["']\s*,)\s*)"""
            r"""(?:b?\\*"[^"]*"|b?\\*'[^']*'|[^\n"',&]+)""",
            re.IGNORECASE,
        ),
        rf"\1\2{MASK}",
    ),
)


@lru_cache(maxsize=1024)
def names_a_secret(key: str) -> bool:
    """Return whether the value under ``key`` is to be hidden, whatever it is."""
    name = key.lower().replace("_", "").replace("-", "")
    return name in _SECRET_NAMES or any(word in name for word in _SECRET_WORDS)


@lru_cache(maxsize=1024)
def _is_ordinary(key: str) -> bool:
    """Return whether ``key`` may be shown as it is, and so may be what stands under it."""
    return key.isascii() and key.isidentifier() and not names_a_secret(key)


class Redactor:
    """A structlog processor: leaves only what JSON can hold and a log may show."""

    def __init__(self, event_names: frozenset[str] = frozenset()) -> None:
        """``event_names`` are ours and stay as they are, even around a secret like "test"."""
        self._event_names = event_names
        self._hidden: tuple[str, ...] = ()

    def hide(self, values: Iterable[str]) -> None:
        """Mask ``values`` from now on, also as they look in a URL, in a repr and in JSON."""
        spellings = set(self._hidden)
        for value in values:
            if len(value) >= SHORTEST_SECRET:
                in_json = orjson.dumps(_encodable(value)).decode()[1:-1]
                spellings |= {value, in_json, repr(value)[1:-1]}
                for safe in ("", "/"):
                    spellings |= {quote(value, safe=safe), quote_plus(value, safe=safe)}
        self._hidden = tuple(sorted(spellings, key=len, reverse=True))  # the longest first

    def __call__(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Return ``event`` with clean values; no value can make this raise."""
        clean = self._fields(event)
        name = event.get("event")
        if isinstance(name, str):
            clean["event"] = name if name in self._event_names else self.text(name)
        return clean

    def text(self, value: str) -> str:
        """Return a text of others: what looks like a credential is masked, too.

        It is encodable and at most ``LONGEST_TEXT`` long, as every value is.
        """
        value = self._masked(value)[: 2 * LONGEST_TEXT]  # bounds the search
        for pattern, masked in _LOOKS_SECRET:
            value = pattern.sub(masked, value)
        return _shown(value)

    def _masked(self, value: str) -> str:
        for secret in self._hidden:
            if secret in value:
                value = value.replace(secret, MASK)
        return value

    def _fields(self, event: Mapping[str, Any]) -> dict[str, Any]:
        clean: dict[str, Any] = {}
        for key, value in event.items():
            if _is_ordinary(key):  # the short way for nearly all that is ever logged
                kind = type(value)
                if kind is str:
                    is_others = key in TEXTS_OF_OTHERS
                    clean[key] = self.text(value) if is_others else _shown(self._masked(value))
                    continue
                if value is None or (kind is int and _LEAST <= value <= _MOST):
                    clean[key] = value
                    continue
            name = key if key.isascii() and key.isidentifier() else self.text(key)
            try:
                clean[name] = MASK if names_a_secret(key) else self._value(value, 0)
            except Exception:  # noqa: BLE001 - somebody's __str__; a log line must not raise
                clean[name] = f"<{type(value).__name__}>"
        return clean

    def _value(self, value: object, depth: int) -> object:
        if isinstance(value, Enum):
            value = value.value
        if isinstance(value, str):
            return self.text(str(value))
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int) and _LEAST <= value <= _MOST:
            return int(value)
        if isinstance(value, float) and math.isfinite(value):
            return float(value)
        if isinstance(value, BaseException):
            return type(value).__name__  # its text may be anybody's
        if isinstance(value, bytes | bytearray | memoryview):
            return f"[{len(value)} bytes]"
        if isinstance(value, Mapping | Sequence | Set):
            return "[too deep]" if depth == DEEPEST else self._nested(value, depth + 1)
        return self.text(str(value))

    def _nested(self, value: Collection[Any], depth: int) -> object:
        items = islice(value, MOST_ITEMS)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._member(key, value[key], depth) for key in items}
        if len(value) == 2:
            first, second = value
            if isinstance(first, str) and first.replace("-", "_").isidentifier():
                # Perhaps one of the pairs of a header list.
                return [self._value(first, depth), self._member(first, second, depth)]
        return [self._value(item, depth) for item in items]

    def _member(self, key: object, value: object, depth: int) -> object:
        return MASK if names_a_secret(str(key)) else self._value(value, depth)


def _shown(text: str) -> str:
    if not text.isascii():
        text = _encodable(text)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
