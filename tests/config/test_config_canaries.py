"""No secret shows in a ``repr``, an error or the effective configuration."""

import json
import traceback
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.config import (
    ConfigError,
    Settings,
    effective,
    redacted,
    resolve_secrets,
    to_toml,
)
from reconciler.config.urls import origin

Loader = Callable[..., Settings]
Problems = Callable[..., list[str]]

CANARY = "Canary7f3a"

EVERYWHERE = f"""
[listener]
authorization = ["Bearer {CANARY}", "{CANARY}"]
[admin]
token = "{CANARY}"
[assure]
token_url = "https://h.example/token?{CANARY}"
client_id = "c"
client_secret = "{CANARY}"
proxy = "http://user:{CANARY}@proxy.example:3128"
[store]
url = "postgresql://user:{CANARY}%2Fx@h/d?sslpassword={CANARY}"
[delivery]
url = "https://{CANARY}:{CANARY}@h.example/x?{CANARY}"
secret = ["whsec_{CANARY}Y=", "whsec_{CANARY}Z="]
headers = {{ X-Key = "{CANARY}" }}
proxy = "http://{CANARY}@proxy.example:3128"
[heartbeat]
url = "https://h.example/{CANARY}?{CANARY}"
"""

MISPLACED = [
    f'listener = "{CANARY}"',
    f'[listener]\nauthorization = "{CANARY}"',
    f'[listener]\nauthorization = ["{CANARY}\\n"]',
    f'[listener]\nauthorization = [["{CANARY}"]]',
    f'[listener]\nauthorization = {{ value = "{CANARY}" }}',
    f'[listener]\nauthorisation = ["{CANARY}"]',
    f'[admin]\ntoken = {{ value = "{CANARY}" }}',
    f'[admin]\ntoken = ["{CANARY}"]',
    f'[assure]\nclient_secret = {{ env = "A", file = "{CANARY}" }}',
    f'[assure]\nbase_url = "https://u:{CANARY}@h"',
    f'[assure]\nbase_url = "u:{CANARY}@h"',
    f'[assure]\ntoken_url = "http://u:{CANARY}/?#@h"',
    f'[assure]\nproxy = "http://u:{CANARY}@h:1/path"',
    f'[assure]\nproxy = "u:{CANARY}@h:1"',
    f'[store]\nurl = "mysql://u:{CANARY}@h/d"',
    f'[store]\nurl = "{CANARY}"',
    f'[delivery]\nurl = "ftp://u:{CANARY}@h"',
    f'[delivery]\nsecret = "{CANARY}"',
    f'[delivery]\nheaders = {{ "X: {CANARY}" = "" }}',
    f'[delivery]\nheaders = "X: {CANARY}"',
    f'[heartbeat]\nurl = "hc.example/{CANARY}"',
    f'store = "{CANARY}"',
]


def test_no_secret_shows_in_the_settings_or_what_is_printed_of_them(load_text: Loader) -> None:
    settings = load_text(EVERYWHERE)
    shown = effective(settings)
    secrets = resolve_secrets(settings, {})
    for text in (repr(settings), str(settings), json.dumps(shown), to_toml(shown), repr(secrets)):
        assert CANARY not in text
    assert CANARY in secrets.all_values()


@pytest.mark.parametrize("text", MISPLACED)
def test_no_secret_shows_in_an_error(load_text: Loader, text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_text(text)
    assert CANARY not in str(refusal.value)
    assert CANARY not in repr(refusal.value)
    trace = "".join(traceback.format_exception(refusal.value))
    assert CANARY not in trace


@pytest.mark.parametrize(
    "variable",
    ["LISTENER__AUTHORIZATION", "DELIVERY__HEADERS", "DELIVERY__SECRET", "STORE__URL", "LISTENER"],
)
def test_no_secret_of_a_variable_shows_in_an_error(problems_of: Problems, variable: str) -> None:
    for text in (CANARY, f'["{CANARY}\\n"', f'{{"x y": "{CANARY}"}}'):
        assert CANARY not in "".join(problems_of(environ={f"RECONCILER_{variable}": text}))


def test_no_secret_shows_when_its_source_holds_a_wrong_one(load_text: Loader) -> None:
    settings = load_text(
        '[listener]\nauthorization = [{ env = "A" }]\n[store]\nurl = { env = "A" }\n'
        '[delivery]\nurl = "https://h.example"\nsecret = { env = "A" }'
    )
    with pytest.raises(ConfigError) as refusal:
        resolve_secrets(settings, {"A": f"{CANARY}\n"})
    assert CANARY not in "".join(traceback.format_exception(refusal.value))


SIGNS = ["@", "/", ":", "#", "?", "%", "[", "]", "@/", "/@", "?@", "%zz", "[x]", "&a=1"]
URLS = {
    "store.url": "postgresql://u:{}@h/d",
    "assure.base_url": "https://u:{}@h",
    "assure.token_url": "https://u:{}@h/token",
    "assure.proxy": "http://u:{}@h:3128",
    "delivery.url": "https://u:{}@h/events",
    "delivery.proxy": "http://u:{}@h:3128",
    "heartbeat.url": "https://u:{}@h/ping",
}


@pytest.mark.parametrize("key", URLS)
@pytest.mark.parametrize("source", ["value", "env"])
@pytest.mark.parametrize("is_quoted", [False, True])
def test_no_password_of_a_url_shows_whatever_signs_it_has(
    load_text: Loader, key: str, source: str, is_quoted: bool
) -> None:
    if source == "env" and key in {"assure.base_url", "assure.token_url", "delivery.url"}:
        return  # no secret, so it has no source
    section, name = key.split(".")
    others = '[delivery]\nurl = "https://h"\n' if key == "delivery.proxy" else f"[{section}]\n"
    client = 'client_id = "c"\nclient_secret = "client-secret"\n'
    client = client if section == "assure" else f"[assure]\n{client}"
    for sign in SIGNS:
        for password in (f"{CANARY}{sign}x", f"x{sign}{CANARY}", f"{sign}{CANARY}{sign}{sign}"):
            url = URLS[key].format(quote(password, safe="") if is_quoted else password)
            value = json.dumps(url) if source == "value" else '{ env = "URL" }'
            text = f"{others}{name} = {value}\n{client}"
            try:
                settings = load_text(text)
                shown = json.dumps(effective(settings)) + to_toml(effective(settings))
                shown += repr(settings) + repr(resolve_secrets(settings, {"URL": url}))
            except ConfigError as error:
                shown = "".join(traceback.format_exception(error))
                assert not is_quoted or "must hold no user" in shown, url
            assert CANARY not in shown, url


@pytest.mark.parametrize("key", URLS)
def test_a_raw_at_sign_in_a_password_is_refused_with_what_to_write(
    problems_of: Problems, key: str
) -> None:
    variable = f"RECONCILER_{key.replace('.', '__').upper()}"
    others = '[delivery]\nurl = "https://h"\n' if key == "delivery.proxy" else ""
    (problem,) = problems_of(others, {variable: URLS[key].format(f"a@{CANARY}")})
    assert problem.startswith(f"{key} ({variable}): ")
    assert "%40" in problem


@given(
    user=st.text(min_size=1),
    password=st.text(min_size=1).map(lambda text: f"{CANARY}{text}{CANARY}"),
    scheme=st.sampled_from(["https", "postgresql"]),
)
def test_a_redacted_url_never_holds_its_password(user: str, password: str, scheme: str) -> None:
    assert CANARY not in redacted(f"{scheme}://{user}:{password}@host/path")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host:1/path", "https://host:1/path"),
        ("https://u:p@host/path?a=b", "https://[redacted]@host/path?[redacted]"),
        ("postgresql:///d?password=x", "postgresql:///d?[redacted]"),
        ("sqlite:////var/lib/x.db", "sqlite:////var/lib/x.db"),
        ("no url at all", "[redacted]"),
    ],
)
def test_the_rest_of_a_redacted_url_stays_readable(url: str, shown: str) -> None:
    assert redacted(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hc.example:8443/uuid", "https://hc.example:8443/[redacted]"),
        ("https://hc.example?key=k", "https://hc.example/[redacted]"),
        ("https://hc.example/", "https://hc.example"),
        ("https://u:p/w@hc.example/uuid", "https://[redacted]"),
        ("https://hc.example/uuid@x", "https://[redacted]"),
        ("no url at all", "[redacted]"),
    ],
)
def test_of_a_ping_only_scheme_and_host_are_shown(url: str, shown: str) -> None:
    assert origin(url) == shown
