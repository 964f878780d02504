"""Checks URLs, and shows them without their secrets."""

import re
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from reconciler.config.addresses import is_loopback
from reconciler.runtime.libpq import flaw_of

REDACTED = "[redacted]"

_STORES = (
    'write "sqlite:///relative/path.db", "sqlite:////absolute/path.db" '
    'or "postgresql://host/database"'
)
_UNQUOTED = 'in a user or a password write "@" as %40, and each of / ? # % [ ] by its code as well'


def redacted(url: str) -> str:
    """Return ``url`` without user, password, query and fragment.

    A password may hold an unquoted "/", "?" or "@", so everything before the last "@" goes.
    In a rare URL that hides more than needed, never less.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return REDACTED
    _, at, rest = rest.rpartition("@")
    for sign in "?#":
        head, found, _ = rest.partition(sign)
        rest = f"{head}{sign}{REDACTED}" if found else rest
    return f"{scheme}://{at and REDACTED + at}{rest}"


def origin(url: str) -> str:
    """Return scheme, host and port of ``url``, with a mark in place of the rest.

    With an "@" in it the end of a password is uncertain (see ``redacted``): then no host either.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return REDACTED
    if "@" in rest:
        return f"{scheme}://{REDACTED}"
    host, *more = re.split("[/?#]+", rest, maxsplit=1)
    return f"{scheme}://{host}" + (f"/{REDACTED}" if any(more) else "")


class Url(str):
    """A URL, not a secret. Its ``repr`` is redacted; as a string it is whole."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Url({redacted(self)!r})"

    def shown(self) -> str:
        """Return it as the effective configuration shows it."""
        return redacted(self) if self else ""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(strict=True)
        )


def secret_parts(url: str) -> tuple[str, ...]:
    """Return the password, as written and decoded, and the query: no log may show them."""
    user, _, rest = url.partition("://")[2].rpartition("@")
    password = user.partition(":")[2]
    query = rest.partition("?")[2]
    return tuple({text for text in (password, unquote(password), query) if text})


def has_user(url: str) -> bool:
    """Tell whether ``url``, which has been checked, has a user or a password in it."""
    return "@" in urlsplit(url).netloc


def _split(text: str) -> SplitResult:
    if not text.isprintable() or " " in text:
        raise ValueError("has a space or a control character in it")
    user, at, _ = re.split("[/?#]", text.partition("://")[2], maxsplit=1)[0].rpartition("@")
    if at and set(user) & set("@[]"):
        raise ValueError(f"has a sign too many before its host; {_UNQUOTED}")
    try:
        parts = urlsplit(text)
        well_formed = bool(parts.hostname) and parts.port != 0
    except ValueError:
        well_formed = False
    if not well_formed or parts.scheme not in {"http", "https"}:
        what = 'is not a URL; write "https://" or "http://", a host, and what follows'
        raise ValueError(f"{what}; {_UNQUOTED}" if "@" in text else what)
    if "#" in text:
        raise ValueError('must not have a "#" in it')
    return parts


def http_url(text: str) -> str:
    """Refuse anything but a plain ``http`` or ``https`` URL."""
    _split(text)
    return text


def http_url_or_none(text: str) -> str:
    """Do as ``http_url``, but allow an empty text for: none."""
    return http_url(text) if text else text


def proxy_url(text: str) -> str:
    """Refuse anything but scheme, host and port."""
    parts = _split(text)
    if parts.path not in {"", "/"} or parts.query:
        raise ValueError('must end after the port, such as "http://proxy.example:3128"')
    return text


def _credential_free(text: str) -> SplitResult:
    parts = _split(text)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("must begin with https://; http is for a loopback address only")
    if "@" in parts.netloc:
        raise ValueError("must hold no user and no password")
    return parts


def secure_url(text: str) -> str:
    """Refuse a URL over which a token would travel in clear text to another machine."""
    _credential_free(text)
    return text


def base_url(text: str) -> Url:
    """Refuse a URL to which no path can be appended; drop a "/" at the end."""
    if "?" in text:
        raise ValueError('must not have a "?" in it; paths are appended to it')
    return Url(_credential_free(text).geturl().rstrip("/"))


def store_url(text: str) -> str:
    """Refuse anything but a SQLite file or a PostgreSQL database."""
    scheme, mark, rest = text.partition("://")
    if not mark or scheme not in {"sqlite", "postgresql", "postgres"} or not text.isprintable():
        raise ValueError(f"is no store; {_STORES}")
    if scheme != "sqlite":
        if not rest:
            raise ValueError(f"has no host; {_STORES}")
        if "#" in text:
            raise ValueError('must not have a "#" in it; in a password write it as %23')
        if flaw := flaw_of(text):
            raise ValueError(flaw)
        return text
    path = rest.removeprefix("/")
    if not path or ":memory:" in path or path.startswith("file:"):
        raise ValueError(f"is a database in memory, which loses everything; {_STORES}")
    if path == rest:
        raise ValueError(f"has two slashes; {_STORES}")
    if "?" in path or "#" in path or path.endswith("/"):
        raise ValueError(f"is not the path of a file; {_STORES}")
    return text
