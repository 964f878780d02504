"""Reads the URL of a store."""

import os
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from reconciler.runtime.libpq import flaw_of
from reconciler.store.errors import StoreError

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def is_postgres(url: str) -> bool:
    """Tell whether ``url`` names a PostgreSQL database, which several daemons may share."""
    return url.startswith(_POSTGRES)


def postgres_url(url: str) -> tuple[URL, str]:
    """Return a PostgreSQL URL for SQLAlchemy, and the part that may be shown: no user, no query."""
    if find_spec("psycopg") is None:
        raise StoreError(
            "store.url names PostgreSQL, but psycopg is not installed; "
            "install assure-reconciler[postgres]"
        )
    if flaw := flaw_of(url):  # a URL of the command line has been read by nobody else
        raise StoreError(f"the URL of the store {flaw}")
    try:
        address = make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise StoreError("store.url is not a URL of PostgreSQL that can be read") from None
    hosts = address.host or ",".join(_texts(address.query.get("host"))) or "localhost"
    ports = address.port or ",".join(_texts(address.query.get("port"))) or 5432
    return address, f"{hosts}:{ports}/{address.database or ''}"


def store_file(url: str) -> Path | None:
    """Return the file of a SQLite store; None for a database server."""
    return sqlite_path(url) if url.startswith(_SQLITE) else None


def sqlite_path(url: str) -> Path:
    """Return the file that a ``sqlite:///`` URL names."""
    if not url.startswith(_SQLITE):
        raise StoreError("store.url names neither a SQLite file nor a PostgreSQL database")
    # Resolved, for SQLite puts its other files beside the target of a symbolic link.
    return Path(os.path.realpath(url.removeprefix(_SQLITE)))


def _texts(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value or ()
