"""Parses a secret as the file has it: a value, or the source of one.

The type of a field decides what its value may be. A value in the file is checked when the file is
read, any other when it is resolved (``secrets.py``). No ``repr`` and no error shows a value.
"""

import re
from base64 import b64decode
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from reconciler.config import urls, values

Kind = Literal["value", "env", "file", "credential"]

_FORMS = '{ env = "NAME" }, { file = "PATH" } or { credential = "NAME" }'
_HEADER_VALUE = re.compile(r"[!-~]+([ \t]+[!-~]+)*")
_NAMED = re.compile(r"[a-z-]*authorization\s*[:=]", re.IGNORECASE)
_SCHEMES = frozenset({"basic", "bearer", "digest", "dpop", "hmac", "negotiate", "oauth", "token"})
"""Authentication schemes in use; the first word of a header's value."""

_SIGNING_PREFIX = "whsec_"


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A secret. ``text`` is its value, or the name or path of its source."""

    kind: Kind
    text: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown()!r})"

    def shown(self) -> str | dict[str, str]:
        """Return its source; for a value, a text that does not tell it."""
        return {self.kind: self.text} if self.kind != "value" else urls.REDACTED

    @staticmethod
    def check(text: str) -> str:
        """Return the value as it is to be used, or raise ``ValueError`` without showing it."""
        if not text:
            raise ValueError("must not be empty")
        return text

    @classmethod
    def taken(cls, text: str) -> str:
        """Return the value after the checks of all secrets and those of this kind."""
        return cls.check(values.exact(text))

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a string or a table with one source; a built one is passed through."""
        match value:
            case cls():
                return value
            case str():
                return cls("value", cls.taken(value))
            case {"env": str(text), **others} if text and not others:
                return cls("env", text)
            case {"file": str(text), **others} if text and not others:
                return cls("file", text)
            case {"credential": str(text), **others} if text and not others and "/" not in text:
                return cls("credential", text)
            case _:
                raise ValueError(f"is not a string, {_FORMS}")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)


class HeaderSecret(Secret):
    """The value of an HTTP header, or a part of one."""

    __slots__ = ()

    @staticmethod
    def check(text: str) -> str:
        """Refuse a value that a header cannot carry unchanged (RFC 9110, 5.5)."""
        if not text:
            raise ValueError("must not be empty")
        if not _HEADER_VALUE.fullmatch(text):
            raise ValueError("must be printable ASCII")
        if _NAMED.match(text):
            raise ValueError("begins with the name of the header; write its value alone")
        return text


class CallbackAuthorization(HeaderSecret):
    """The whole value of a callback's Authorization header."""

    __slots__ = ()

    @staticmethod
    def check(text: str) -> str:
        """Refuse a value that no Authorization header has."""
        if HeaderSecret.check(text).lower().rstrip(":") in _SCHEMES:
            raise ValueError("is a scheme alone; what follows it in the header is missing")
        return text


class TokenSecret(HeaderSecret):
    """A bearer token."""

    __slots__ = ()

    @staticmethod
    def check(text: str) -> str:
        """Refuse a value that no caller can send as a token."""
        if " " in HeaderSecret.check(text):
            raise ValueError('has a blank in it; write the token alone, without "Bearer"')
        return text


class SigningSecret(Secret):
    """A signing secret as Standard Webhooks writes it: ``whsec_`` and base64."""

    __slots__ = ()

    @staticmethod
    def check(text: str) -> str:
        """Refuse a value that the signature library refuses, or decodes to another key."""
        key = text.removeprefix(_SIGNING_PREFIX)
        try:
            usable = key != text and bool(b64decode(key, validate=True))
        except ValueError:
            usable = False
        if not usable:
            raise ValueError('is not a signing secret; write "whsec_" and the key in base64')
        return text


class UrlSecret(Secret):
    """An ``http`` or ``https`` URL, which may hold a password. An empty one means: none."""

    __slots__ = ()

    def shown(self) -> str | dict[str, str]:
        """Return its source, or the URL without what is secret in it."""
        if self.kind != "value":
            return {self.kind: self.text}
        return urls.redacted(self.text) if self.text else ""

    @staticmethod
    def check(text: str) -> str:
        """Refuse anything but a plain URL."""
        return urls.http_url(text) if text else text


class PingUrl(UrlSecret):
    """The URL of a dead-man service. Its path is a secret: it can silence the alarm."""

    __slots__ = ()

    def shown(self) -> str | dict[str, str]:
        """Return its source, or of the URL only scheme and host."""
        return urls.origin(self.text) if self.kind == "value" and self.text else super().shown()


class ProxyUrl(UrlSecret):
    """The URL of an egress proxy. An empty one means: none."""

    __slots__ = ()

    @staticmethod
    def check(text: str) -> str:
        """Refuse anything but the URL of a proxy."""
        return urls.proxy_url(text) if text else text


class StoreUrl(UrlSecret):
    """The URL of the store, which may hold a password."""

    __slots__ = ()

    @staticmethod
    def check(text: str) -> str:
        """Refuse anything but a SQLite file or a PostgreSQL database."""
        return urls.store_url(text)
