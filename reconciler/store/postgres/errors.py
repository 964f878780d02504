"""Turns PostgreSQL's errors into ours. Their texts stay here, for they hold rows and users.

SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html

The reasons: docs/decisions/011.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError

from reconciler.store.errors import StoreConflictError, StoreError, StoreUnavailableError

_CONFLICTS = {"40001", "40P01", "23505"}
"""Serialization failure, deadlock, and a key that another daemon has just inserted."""

_ROWS_FAULT = {"0A", "21", "22", "23", "42", "44", "54", "P0"}
"""Classes that the same row raises each time: data, constraint, trigger, our statement."""

_NOT_THE_ROWS = {"42501", "42P01"}
"""A missing right or table: once an operator has mended it, the same row is taken."""

_READ_ONLY = "25006"

_CONNECTING = (
    (r"SSL SYSCALL|EOF detected|closed the connection", "the connection was lost"),
    (r"refused", "connection refused"),
    (r"timeout|timed out", "no answer in time"),
    (r"too many (clients|connections)|connection slots", "too many connections"),
    (r"authentication|pg_hba|no password|role .* does not exist", "it does not let us in"),
    (r"database .* does not exist", "there is no such database"),
    (r"not currently accepting", "the database takes no connections"),
    (r"starting up|shutting down|recovery|not yet accepting", "it is starting or stopping"),
    (r"translate host|name or service|resolve|getaddrinfo|nodename", "its name is not known"),
    (r"No such file", "no server listens there"),
    (r"SSL error|not support SSL|certificate", "TLS failed"),
)
"""A failed connection has no SQLSTATE: its text is matched, and replaced by these words."""


@contextmanager
def translate_errors(place: str) -> Iterator[None]:
    """Turn the errors of PostgreSQL, its driver and SQLAlchemy into StoreErrors.

    ``place``: the server and database, for connections that fail.
    """
    try:
        yield
    except DBAPIError as error:
        raise store_error(error.orig, place) from None
    except (psycopg.Error, OSError, TimeoutError, UnicodeError, OverflowError) as error:
        raise store_error(error, place) from None


def store_error(error: BaseException | None, place: str) -> StoreError:
    """Return StoreUnavailableError for trouble of the store, StoreError for a refused row."""
    name = type(error).__name__
    state = getattr(error, "sqlstate", None)
    if isinstance(error, psycopg.Error) and state:
        if state in _CONFLICTS:
            return StoreConflictError(name)
        if state[:2] in _ROWS_FAULT and state not in _NOT_THE_ROWS:
            return StoreError(name)
        if state == "42501":
            return StoreUnavailableError(f"our role lacks a right in {place}")
        return StoreUnavailableError(name)
    if isinstance(error, psycopg.OperationalError):
        return StoreUnavailableError(f"cannot reach PostgreSQL at {place}: {_why(str(error))}")
    if isinstance(error, TimeoutError):
        return StoreUnavailableError(f"cannot reach PostgreSQL at {place}: no answer in time")
    if isinstance(error, (psycopg.InterfaceError, OSError)):
        return StoreUnavailableError(f"cannot reach PostgreSQL at {place}: the connection was lost")
    return StoreError(name)


def is_read_only(error: BaseException) -> bool:
    """Tell whether the server has become a standby, so that we must connect to another one."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None) == _READ_ONLY


def _why(text: str) -> str:
    for pattern, words in _CONNECTING:
        if re.search(pattern, text, re.IGNORECASE):
            return words
    return "the connection was lost"
