"""Reads the URL of a store."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import URL

from reconciler.runtime.libpq import flaw_of, options_of
from reconciler.store.errors import StoreError

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")

_DEFAULTS = {"connect_timeout": "2", "application_name": "reconciler"}
"""Where the URL does not say. The seconds are for each host: libpq's minimum."""


def is_postgres(url: str) -> bool:
    """Tell whether ``url`` names a PostgreSQL database, which several daemons may share."""
    return url.startswith(_POSTGRES)


def postgres_url(url: str) -> tuple[URL, str]:
    """Return a PostgreSQL URL for SQLAlchemy, and the part that may be shown: no user, no query.

    It is read by libpq's own parser. The encoding is UTF-8, whatever the URL says: in another one
    a callback could not be stored.
    """
    if find_spec("psycopg") is None:
        raise StoreError(
            "store.url names PostgreSQL, but psycopg is not installed; "
            "`pip install 'psycopg[binary]'` adds it"
        )
    if flaw := flaw_of(url):  # a URL of the command line has been read by nobody else
        raise StoreError(f"the URL of the store {flaw}")
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 (an extra)

    options = {**_DEFAULTS, **options_of(url), "client_encoding": "utf8"}
    place = place_of(options)
    address = URL.create(
        "postgresql+psycopg",
        username=options.pop("user", None),
        password=options.pop("password", None),
        database=options.pop("dbname", None),
        # As one text, for SQLAlchemy has rules of its own for several hosts.
        query={"conninfo": make_conninfo("", **options)},
    )
    return address, place


def place_of(options: Mapping[str, str]) -> str:
    """Return the part of libpq's options that may be shown: hosts, ports and the database."""
    hosts = options.get("host") or options.get("hostaddr") or options.get("service") or "localhost"
    ports = options.get("port") or "5432"
    return f"{hosts}:{ports}/{options.get('dbname', '')}".rpartition("@")[2]


def store_file(url: str) -> Path | None:
    """Return the file of a SQLite store; None for a database server."""
    return sqlite_path(url) if url.startswith(_SQLITE) else None


def is_relative(url: str) -> bool:
    """Tell whether ``url`` names a file relative to the working directory."""
    return url.startswith(_SQLITE) and not url.startswith(f"{_SQLITE}/")


def sqlite_path(url: str) -> Path:
    """Return the file that a ``sqlite:///`` URL names."""
    if not url.startswith(_SQLITE):
        raise StoreError("store.url names neither a SQLite file nor a PostgreSQL database")
    # Resolved, for SQLite puts its other files beside the target of a symbolic link.
    return Path(os.path.realpath(url.removeprefix(_SQLITE)))
