"""libpq itself decides which URL of a PostgreSQL database is taken, and its values stay hidden."""

import pytest

from reconciler.runtime.libpq import flaw_of

CANARY = "Canary7f3a"

TAKEN = [
    "postgresql://user:secret@host:5432/database",
    "postgres:///database?host=/run/postgresql",
    "postgresql://h1:5432,h2:5433/d?target_session_attrs=read-write",
    "postgresql://%2Frun%2Fpostgresql/d",
    "postgresql://[::1]:5432/d",
    "postgresql://h/d?application_name=mine&connect_timeout=5&sslmode=verify-full",
    "postgresql://u:p%40s%2Fs%3A%23%3F%25%5B%5D@h/d",
    "postgresql://h/d?ssl=true",
]

REFUSED = {
    "?schema=public": "is refused by libpq: invalid URI query parameter schema",
    "?sslmode=required": "is refused by libpq: invalid sslmode value; write disable, allow, "
    "prefer, require, verify-ca or verify-full",
    "?target_session_attrs=writable": "is refused by libpq: invalid target_session_attrs value",
    "?require_auth=x": "is refused by libpq: invalid require_auth value",
    "?connect_timeout=5s": "is refused by libpq: invalid integer value for connection option "
    "connect_timeout",
    "?port=x": "is refused by libpq: invalid integer value for connection option port",
    "?port=70000": "is refused by libpq: invalid port number",
    "?port=1,2,3": "is refused by libpq: could not match 3 port numbers to 1 hosts",
    "?sslmode": "is refused by libpq: missing key/value separator",
}


@pytest.mark.parametrize("url", TAKEN)
def test_a_url_that_libpq_takes_is_taken(url: str) -> None:
    assert flaw_of(url) is None


@pytest.mark.parametrize("query", REFUSED)
def test_a_url_that_libpq_refuses_is_refused_with_its_words(query: str) -> None:
    assert flaw_of(f"postgresql://u:{CANARY}@h/d{query}") == REFUSED[query]


@pytest.mark.parametrize("password", ["{}@x", "x@{}", "{}/x", "x/{}", "{}@/", "x?{}@y", "{}@@"])
def test_a_raw_at_sign_or_slash_in_a_password_is_refused(password: str) -> None:
    flaw = flaw_of(f"postgresql://u:{password.format(CANARY)}@h/d")
    assert flaw is not None
    assert "%40" in flaw and CANARY not in flaw


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:%zz{CANARY}@h/d",
        f'postgresql://u:%zz"{CANARY}"@h/d',
        f"postgresql://h/d?password=x&{CANARY}=1",
        f"postgresql://h/d?{CANARY}",
        f"postgresql://h/d?sslmode={CANARY}",
        f"postgresql://h/d?service={CANARY}",
        f"postgresql://h:{CANARY}/d",
        f"postgresql://[{CANARY}/d",
        f"postgresql://[::1]{CANARY}/d",
        f"postgresql://h/d?connect_timeout={CANARY}",
    ],
)
def test_no_value_shows_in_what_libpq_says(url: str) -> None:
    flaw = flaw_of(url)
    assert flaw is not None
    assert CANARY not in flaw
