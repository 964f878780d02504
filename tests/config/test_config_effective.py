"""The effective configuration, as ``check-config`` prints it."""

import json
import tomllib
from collections.abc import Callable

from reconciler.config import Settings, effective, load, to_toml

Loader = Callable[..., Settings]


def test_it_shows_each_kind_of_value_as_the_file_would_write_it(load_text: Loader) -> None:
    shown = effective(
        load_text("""
        [listener]
        authorization = ["Bearer a", { credential = "callback-authorization" }]
        allow_from = ["10.0.0.1", "2001:db8::/32"]
        tls = { certificate = "c.pem", key = "k.pem" }
        [admin]
        listen = "[::1]:9180"
        token = { env = "TOKEN" }
        [assure]
        requests_per_second = 5
        [reconcile]
        callback_timeout = "90m"
        [reconcile.providers.readid]
        notify_grace = "0s"
        [store]
        url = "postgresql://u:p@host/d"
        [delivery]
        url = "http://127.0.0.1:3000/events?key=k"
        secret = { file = "/run/secret" }
        headers = { X-Key = "v" }
        """)
    )
    assert shown["listener"]["authorization"] == [
        "[redacted]",
        {"credential": "callback-authorization"},
    ]
    assert shown["listener"]["allow_from"] == ["10.0.0.1/32", "2001:db8::/32"]
    assert shown["listener"]["tls"] == {"certificate": "c.pem", "key": "k.pem"}
    assert shown["admin"] == {"listen": "[::1]:9180", "token": {"env": "TOKEN"}, "hosts": []}
    assert shown["assure"]["requests_per_second"] == 5.0
    assert shown["assure"]["client_secret"] is None
    assert shown["reconcile"]["callback_timeout"] == "1h30m"
    readid = shown["reconcile"]["providers"]["readid"]
    assert (readid["callback_timeout"], readid["notify_grace"]) == ("1h30m", "0s")
    assert readid["ladder"] == ["notify", "fetch"]
    assert shown["store"]["url"] == "postgresql://[redacted]@host/d"
    assert shown["delivery"]["url"] == "http://127.0.0.1:3000/events?[redacted]"
    assert shown["delivery"]["secret"] == [{"file": "/run/secret"}]
    assert shown["delivery"]["headers"] == {"X-Key": "[redacted]"}
    assert shown["heartbeat"] is None
    assert json.loads(json.dumps(shown)) == shown


def test_its_text_is_toml_that_says_the_same(load_text: Loader) -> None:
    shown = effective(
        load_text(
            """
        [store]
        spool = 'a "quoted" \\ ü'
        [reconcile.providers."Read ID"]
        [delivery]
        url = "https://app.example/"
        headers = { X-Key = { env = "KEY" } }
        """,
            {"RECONCILER_LISTENER__AUTHORIZATION": '[{"env": "A"}]'},
        )
    )
    read_back = tomllib.loads(to_toml(shown))
    assert read_back == {
        name: {key: value for key, value in section.items() if value not in (None, {})}
        for name, section in shown.items()
        if section is not None
    }
    assert read_back["reconcile"]["providers"]["read id"]["callback_timeout"] == "15m"


def test_its_text_tells_what_is_off() -> None:
    text = to_toml(effective(load(None, {})))
    assert "# [delivery] is off: it has no url" in text.splitlines()
    assert "# token is not set" in text.splitlines()
