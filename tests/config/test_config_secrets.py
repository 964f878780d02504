"""Reading secrets from where the settings say they are."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from reconciler.config import ConfigError, Secrets, Settings, resolve_secrets

Loader = Callable[..., Settings]

CLIENT = '[assure]\nclient_id = "c"\nclient_secret = "long-enough"\n'


def refused(settings: Settings, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        resolve_secrets(settings, environ or {})
    return list(refusal.value.problems)


def test_each_secret_is_read_from_its_source(load_text: Loader, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    (tmp_path / "signing").write_text("whsec_YWJj\r\n")
    settings = load_text(f"""
        [listener]
        authorization = ["Bearer a", {{ env = "SECOND" }}]
        [admin]
        token = {{ file = "{tmp_path}/token" }}
        [assure]
        client_id = "c"
        client_secret = "written"
        proxy = {{ env = "PROXY" }}
        [store]
        url = {{ env = "STORE" }}
        [delivery]
        url = "https://app.example/hook?key=k1"
        secret = [{{ credential = "signing" }}, "whsec_ZGVm"]
        headers = {{ Authorization = "Basic dXNlcg==" }}
        proxy = "http://user:p%40ss@proxy.example:3128"
        [heartbeat]
        url = {{ env = "PING" }}
        """)
    environ = {
        "SECOND": "Bearer b",
        "PROXY": "http://127.0.0.1:3128",
        "STORE": "postgresql://u:pw%2F1@h/d",
        "PING": "https://hc.example/uuid",
        "CREDENTIALS_DIRECTORY": str(tmp_path),
    }
    secrets = resolve_secrets(settings, environ)
    assert secrets.listener_authorization == ("Bearer a", "Bearer b")
    assert secrets.admin_token == "from-file"
    assert secrets.assure_client_secret == "written"
    assert secrets.store_url == "postgresql://u:pw%2F1@h/d"
    assert secrets.delivery_secret == ("whsec_YWJj", "whsec_ZGVm")
    assert secrets.delivery_headers == {"Authorization": "Basic dXNlcg=="}
    assert secrets.heartbeat_url == "https://hc.example/uuid"
    assert secrets.assure_proxy == "http://127.0.0.1:3128"
    assert secrets.delivery_proxy == "http://user:p%40ss@proxy.example:3128"
    assert secrets.unchecked == ()
    assert set(secrets.all_values()) == {
        "Bearer a",
        "a",
        "Bearer b",
        "b",
        "from-file",
        "written",
        "pw/1",
        "pw%2F1",
        "whsec_YWJj",
        "YWJj",
        "whsec_ZGVm",
        "ZGVm",
        "Basic dXNlcg==",
        "dXNlcg==",
        "https://hc.example/uuid",
        "p%40ss",
        "p@ss",
        "key=k1",
    }


def test_what_is_not_configured_is_none(load_text: Loader) -> None:
    secrets = resolve_secrets(load_text(CLIENT), {})
    assert secrets == Secrets(
        store_url="sqlite:///var/reconciler.db", assure_client_secret="long-enough"
    )
    assert secrets.all_values() == ("long-enough",)


def test_every_unreadable_secret_is_told_at_once(load_text: Loader, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "latin1").write_bytes(b"\xe4")
    (tmp_path / "lines").write_text("a\nb\n")
    settings = load_text(f"""
        [listener]
        authorization = [
            {{ env = "NOT_SET" }},
            {{ env = "EMPTY" }},
            {{ file = "{tmp_path}/empty" }},
            {{ file = "{tmp_path}/latin1" }},
            {{ file = "{tmp_path}/lines" }},
            {{ file = "{tmp_path}" }},
        ]
        [admin]
        token = {{ credential = "admin-token" }}
        [assure]
        client_secret = {{ file = "{tmp_path}/none" }}
        [store]
        url = {{ env = "STORE" }}
        """)
    assert refused(settings, {"EMPTY": "", "STORE": "mysql://u:pw@h/d"}) == [
        'store.url: environment variable STORE is no store; write "sqlite:///relative/path.db", '
        '"sqlite:////absolute/path.db" or "postgresql://host/database"',
        f"assure.client_secret: file '{tmp_path}/none' cannot be read: No such file or directory",
        "assure.client_id: is missing; write it in [assure], or set RECONCILER_ASSURE__CLIENT_ID",
        "listener.authorization[0]: environment variable NOT_SET is not set",
        "listener.authorization[1]: environment variable EMPTY is empty",
        f"listener.authorization[2]: file '{tmp_path}/empty' is empty",
        f"listener.authorization[3]: file '{tmp_path}/latin1' is not UTF-8 text",
        f"listener.authorization[4]: file '{tmp_path}/lines' has a line break or another control "
        "character in it",
        f"listener.authorization[5]: file '{tmp_path}' cannot be read: Is a directory",
        "admin.token: credential 'admin-token' is only there in a systemd unit: "
        "$CREDENTIALS_DIRECTORY is set by LoadCredential=admin-token:PATH",
    ]


def test_a_credential_that_the_unit_does_not_load_is_told(
    load_text: Loader, tmp_path: Path
) -> None:
    settings = load_text(CLIENT + '[admin]\ntoken = { credential = "t" }')
    assert refused(settings, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == [
        "admin.token: credential 't' cannot be read: No such file or directory"
    ]


def test_outside_the_unit_credentials_can_be_left_unchecked(
    load_text: Loader, tmp_path: Path
) -> None:
    settings = load_text("""
        [assure]
        client_id = "c"
        client_secret = { credential = "assure-client-secret" }
        [store]
        url = { credential = "store-url" }
        [delivery]
        url = "https://app.example/"
        secret = { credential = "delivery-secret" }
        """)
    secrets = resolve_secrets(settings, {}, unchecked_credentials=True)
    assert secrets.unchecked == ("store.url", "assure.client_secret", "delivery.secret")
    assert secrets.assure_client_secret is None
    in_unit = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    with pytest.raises(ConfigError):
        resolve_secrets(settings, in_unit, unchecked_credentials=True)


def test_the_client_is_missing_only_where_it_is_needed(load_text: Loader) -> None:
    settings = load_text('[admin]\ntoken = { env = "NOT_SET" }')
    only_store = resolve_secrets(settings, {}, only_store=True)
    assert only_store.store_url == "sqlite:///var/reconciler.db"
    assert [line.split(":")[0] for line in refused(settings)] == [
        "assure.client_id",
        "assure.client_secret",
        "admin.token",
    ]


def test_a_store_only_look_still_hides_the_stores_password(load_text: Loader) -> None:
    settings = load_text('[store]\nurl = "postgresql://u:hush@h/d"')
    assert resolve_secrets(settings, {}, only_store=True).all_values() == ("hush",)


@pytest.mark.parametrize("key", ["client_secret", "token", "authorization", "secret"])
@pytest.mark.parametrize("source", ["env", "file", "credential"])
def test_one_newline_at_the_end_is_dropped_and_nothing_else_is(
    load_text: Loader, tmp_path: Path, key: str, source: str
) -> None:
    text = "whsec_YWJjZGVmZ2hpamts"  # good for each of them
    place = {"file": str(tmp_path / "secret")}.get(source, "secret")
    others = {key: f'{{ {source} = "{place}" }}'}
    settings = load_text(f"""
        [listener]
        authorization = [{others.get("authorization", '"Bearer abcdefgh"')}]
        [admin]
        token = {others.get("token", '"abcdefgh"')}
        [assure]
        client_id = "c"
        client_secret = {others.get("client_secret", '"abcdefgh"')}
        [delivery]
        url = "https://app.example"
        secret = [{others.get("secret", '"whsec_YWJjZGVmZ2hpamts"')}]
        """)

    def resolve(value: str) -> Secrets:
        (tmp_path / "secret").write_bytes(value.encode())
        return resolve_secrets(settings, {"secret": value, "CREDENTIALS_DIRECTORY": str(tmp_path)})

    for ended in (text, f"{text}\n", f"{text}\r\n"):
        assert resolve(ended) == resolve(text)
    for wrong, word in (
        (f"{text}\n\n", "newline"),
        (f"\n{text}", "newline"),
        (f" {text}", "blank"),
        (f"{text} \n", "blank"),
        (f"{text}\t", "blank"),
        (f'"{text}"', "quotes"),
        (f"'{text}'\n", "quotes"),
        (f"\ufeff{text}", "byte order mark"),
    ):
        with pytest.raises(ConfigError) as refusal:
            resolve(wrong)
        assert word in str(refusal.value) and text not in str(refusal.value)


def test_an_override_loses_its_newline_and_keeps_no_quotes(load_text: Loader) -> None:
    names = {"RECONCILER_ASSURE__CLIENT_ID": "id", "RECONCILER_ASSURE__CLIENT_SECRET": "secret"}
    ended = load_text("", {name: f"{value}\n" for name, value in names.items()})
    assert ended == load_text("", names)
    with pytest.raises(ConfigError) as refusal:
        load_text("", {name: f'"{value}"' for name, value in names.items()})
    assert len(refusal.value.problems) == 2 and "quotes" in refusal.value.problems[1]


def test_a_short_secret_is_told_and_not_masked(load_text: Loader) -> None:
    settings = load_text("""
        [listener]
        authorization = ["Bearer order-1", "Bearer long-enough"]
        [assure]
        client_id = "c"
        client_secret = "abc"
        """)
    assert resolve_secrets(settings, {}).short == (
        "assure.client_secret",
        "listener.authorization[0]",
    )


def test_a_proxy_with_a_user_beside_its_own_header_is_refused(load_text: Loader) -> None:
    text = (
        CLIENT
        + """
        [delivery]
        url = "http://app.example/hook"
        headers = { proxy-authorization = "Basic dXNlcjpwdw==" }
        proxy = { env = "PROXY" }
        """
    )
    settings = load_text(text)
    assert refused(settings, {"PROXY": "http://user:canary@proxy.example:3128"}) == [
        "delivery.headers.proxy-authorization: delivery.proxy has a user; only one can be sent"
    ]
    resolve_secrets(settings, {"PROXY": "http://proxy.example:3128"})


def test_an_authorization_beside_an_at_sign_in_the_path_is_taken(load_text: Loader) -> None:
    load_text(
        CLIENT
        + """
        [delivery]
        url = "https://app.example/@me?to=a@b"
        headers = { Authorization = "Bearer abc" }
        """
    )
