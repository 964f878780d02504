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
    (r"SSL SYSCALL|EOF detected|closed the connection|broken pipe|reset by peer",
     "the connection was lost"),
    (r"refused", "connection refused"),
    (r"timeout|timed out", "no answer in time"),
    (r"too many (clients|connections)|connection slots|no more connections",
     "too many connections; raise max_connections or put PgBouncer in front"),
    (r"session is not read-only|server is not in hot standby|session is read-only|hot standby",
     "none of its hosts is what target_session_attrs asks for"),
    (r"password authentication|no password|authentication failed|role .* does not exist",
     "it does not let us in: check user and password"),
    (r"pg_hba", "it does not let us in: pg_hba.conf has no line for us"),
    (r"database .* does not exist", "there is no such database; create it"),
    (r"not currently accepting", "the database takes no connections"),
    (r"starting up|shutting down|recovery|not yet accepting", "it is starting or stopping"),
    (r"translate host|name or service|resolve|getaddrinfo|nodename", "its name is not known"),
    (r"No such file", "no server listens there"),
    (r"Permission denied", "its socket may not be used by our user"),
    (r"no route to host|network is unreachable|host is down", "no way leads to it"),
    (r"does not support SSL", "it speaks no TLS; see sslmode in store.url"),
    (r"certificate verify|certificate", "its certificate is not accepted; see sslrootcert"),
    (r"SSL", "TLS failed"),
    (r"unsupported startup parameter|unrecognized configuration parameter",
     "it takes no such parameter as store.url has"),
    (r"permission denied for database|CONNECT privilege", "our role may not connect to it"),
)  # fmt: skip
"""A failed connection has no SQLSTATE: its text is matched, and replaced by these words."""

_STATES = (
    ("08", "the connection was lost"),
    ("28", "it does not let us in: check user and password"),
    ("3D", "there is no such database; create it"),
    ("53100", "its disk is full"),
    ("53200", "it is out of memory"),
    ("53300", "too many connections; raise max_connections or put PgBouncer in front"),
    ("53", "it is out of resources"),
    ("55P03", "a lock was not free in time; what holds it?"),
    ("55", "an object is in use or not ready"),
    ("57014", "a statement took too long and was cancelled"),
    ("57P01", "it is being stopped"),
    ("57P02", "it has crashed and is starting again"),
    ("57P03", "it is starting or stopping"),
    ("57P04", "the database was dropped"),
    ("57P05", "a session was idle for too long"),
    ("57", "an operator has intervened"),
    ("58", "it has an error of its disk or system"),
    ("25006", "it is read-only: a standby, or made so"),
    ("25", "the transaction was ended by it"),
    ("42P01", "a table is missing; run `reconciler init-db`"),
    ("F0", "its configuration file is broken"),
    ("XX001", "data of it is damaged; restore a backup"),
    ("XX002", "an index of it is damaged; REINDEX it"),
    ("XX", "it has an internal error"),
)
"""SQLSTATEs or their classes, the longest first within a class."""

UNKNOWN = "it failed for a reason that we do not know; its own log has it"

_LACKS = re.compile(
    r"permission denied for (table|relation|schema|sequence|database|view) \"?([A-Za-z_0-9]{1,63})"
)
_OWNER = re.compile(r"must be owner of (table|relation|schema|index) \"?([A-Za-z_0-9]{1,63})")


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
            return StoreUnavailableError(f"our role lacks a right {_lacking(str(error))}in {place}")
        return StoreUnavailableError(f"PostgreSQL at {place}: {_words_of(state)} ({state})")
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
    return UNKNOWN


def _words_of(state: str) -> str:
    return next((words for start, words in _STATES if state.startswith(start)), UNKNOWN)


def _lacking(text: str) -> str:
    """Return on what a right is missing, such as ``on the table processes ``; else nothing."""
    if found := _LACKS.search(text):
        return f"on the {found[1]} {found[2]} "
    if found := _OWNER.search(text):
        return f"(to own the {found[1]} {found[2]}) "
    return ""
