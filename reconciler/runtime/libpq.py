"""Asks libpq about the URL of a PostgreSQL database before anything connects with it.

So what is checked, what is masked and what connects are read by one parser.
"""

import re
from contextlib import suppress
from importlib.util import find_spec

UNQUOTED = 'in a user or a password write "@" as %40 and "/" as %2F'

_INTEGERS = (
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "tcp_user_timeout",
)
_SSLMODES = "disable, allow, prefer, require, verify-ca or verify-full"
_NO_SERVER = "/nonexistent"
"""A directory without a socket: libpq looks at all options, and then finds nobody to talk to."""


def flaw_of(url: str) -> str | None:
    """Return what is wrong with ``url``, without any value of it; None where libpq takes it.

    Without psycopg only our own rule speaks: libpq takes what stands before the first "@" for the
    user, and so the end of a password with an "@" in it for the host, which every message shows.
    """
    authority, _, rest = url.partition("://")[2].partition("/")
    if authority.count("@") > 1 or "@" in rest:
        return f'has an "@" too many; {UNQUOTED}'
    if find_spec("psycopg") is None:
        return None
    said = _said_of(url)
    return f"is refused by libpq: {said}" if said else None


def options_of(url: str) -> dict[str, str]:
    """Return what libpq reads from ``url``, by its own keywords. Raises ``psycopg.Error``."""
    from psycopg import pq  # noqa: PLC0415 (an extra)

    found = pq.Conninfo.parse(url.encode())
    return {each.keyword.decode(): each.val.decode() for each in found if each.val is not None}


def _said_of(url: str) -> str | None:
    import psycopg  # noqa: PLC0415 (an extra)

    try:
        options = options_of(url)
    except psycopg.Error as error:
        return _worded(str(error), url)
    except UnicodeError:
        return "not UTF-8 text"
    ports = [port for port in options.get("port", "").split(",") if port]
    integers = [(name, options[name]) for name in _INTEGERS if options.get(name)]
    for name, value in [*integers, *(("port", port) for port in ports)]:
        try:
            int(value)
        except ValueError:
            return f"invalid integer value for connection option {name}"
    hosts = options.get("hostaddr") or options.get("host", "")
    nobody = ",".join(_NO_SERVER for _ in hosts.split(","))
    with suppress(psycopg.Error):
        for line in _failure({**options, "host": nobody, "hostaddr": ""}).splitlines():
            if line and not line.startswith(("connection to server", "\t")):
                return _worded(line, url)
    return None


def _failure(options: dict[str, str]) -> str:
    """Return why libpq cannot connect; with ``_NO_SERVER`` as host it does so at once."""
    from psycopg import pq  # noqa: PLC0415 (an extra)
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415

    connection = pq.PGconn.connect_start(make_conninfo("", **options).encode())
    try:
        return connection.error_message.decode(errors="replace")
    finally:
        connection.finish()


def _worded(message: str, url: str) -> str:
    """Return the first line of ``message`` without what libpq quotes, which may be a password."""
    line = (message.splitlines() or [""])[0]
    before, mark, quoted = line.partition('"')
    if not mark:
        return line
    name, _, after = quoted.rpartition('"')
    said = f"{before.rstrip(' :')} {after.strip(' )')}".strip()
    if said == "invalid URI query parameter" and "password" not in url.partition("?")[2]:
        # The name of a parameter is no secret, unless it is the rest of one.
        return f"{said} {name}" if re.fullmatch("[A-Za-z_]{1,24}", name) else said
    return f"{said}; write {_SSLMODES}" if said == "invalid sslmode value" else said
