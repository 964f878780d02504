"""Environment variables over the file."""

from collections.abc import Callable

from reconciler.config import Settings, load
from reconciler.config.sources import CallbackAuthorization, Secret, StoreUrl

Loader = Callable[..., Settings]
Problems = Callable[..., list[str]]


def test_a_variable_wins_over_the_file(load_text: Loader) -> None:
    settings = load_text(
        '[store]\nurl = "sqlite:///file.db"\nspool = "file"\n[listener]\nport = 1',
        {"RECONCILER_STORE__URL": "sqlite:///other.db", "RECONCILER_LISTENER__PORT": "2"},
    )
    assert settings.store.url == StoreUrl("value", "sqlite:///other.db")
    assert settings.store.spool == "file"
    assert settings.listener.port == 2


def test_texts_and_durations_are_plain_and_all_else_is_json() -> None:
    settings = load(
        None,
        {
            "RECONCILER_LISTENER__AUTHORIZATION": '["Bearer a", {"env": "B"}]',
            "RECONCILER_LISTENER__UNKNOWN_PROCESS": "ignore",
            "RECONCILER_LISTENER__TLS__CERTIFICATE": "c.pem",
            "RECONCILER_LISTENER__TLS__KEY": "k.pem",
            "RECONCILER_ADMIN__LISTEN": "",
            "RECONCILER_ASSURE__CLIENT_ID": "12345",
            "RECONCILER_ASSURE__CLIENT_SECRET": "{not json",
            "RECONCILER_ASSURE__REQUESTS_PER_SECOND": "0.5",
            "RECONCILER_ASSURE__PROXY": '{"env": "PROXY"}',
            "RECONCILER_RECONCILE__CONFIRM_CALLBACKS": "false",
            "RECONCILER_RECONCILE__LADDER": '["fetch"]',
            "RECONCILER_RECONCILE__PROVIDERS__READID__CALLBACK_TIMEOUT": "5m",
            "RECONCILER_DELIVERY__URL": "http://127.0.0.1:3000/",
            "RECONCILER_DELIVERY__SECRET": "whsec_YWJj",
            "RECONCILER_DELIVERY__HEADERS": '{"X-Key": "v"}',
        },
    )
    assert settings.listener.authorization == (
        CallbackAuthorization("value", "Bearer a"),
        CallbackAuthorization("env", "B"),
    )
    assert settings.listener.unknown_process == "ignore"
    assert settings.listener.tls is not None
    assert settings.listener.tls.key == "k.pem"
    assert not settings.admin.listen
    assert settings.assure.client_id == "12345"
    assert settings.assure.client_secret == Secret("value", "{not json")
    assert settings.assure.requests_per_second == 0.5
    assert settings.assure.proxy.kind == "env"
    assert settings.reconcile.confirm_callbacks is False
    assert settings.reconcile.ladder == ("fetch",)
    assert settings.reconcile.providers["readid"].callback_timeout == 300_000
    assert settings.delivery is not None
    assert settings.delivery.secret[0].text == "whsec_YWJj"
    assert settings.delivery.headers["X-Key"].text == "v"


def test_a_variable_reaches_a_provider_that_the_file_writes_with_capitals(
    load_text: Loader,
) -> None:
    reconcile = load_text(
        '[reconcile.providers.ReadID]\ncallback_timeout = "1m"\nnotify_grace = "9s"',
        {"RECONCILER_RECONCILE__PROVIDERS__READID__CALLBACK_TIMEOUT": "5m"},
    ).reconcile
    assert list(reconcile.providers) == ["readid"]
    assert reconcile.providers["readid"].callback_timeout == 300_000
    assert reconcile.providers["readid"].notify_grace == 9_000


def test_a_secret_takes_its_source_from_a_longer_name(load_text: Loader) -> None:
    settings = load_text(
        '[assure]\nclient_secret = { env = "OLD" }',
        {"RECONCILER_ASSURE__CLIENT_SECRET__FILE": "/run/secret"},
    )
    assert settings.assure.client_secret == Secret("file", "/run/secret")


def test_a_table_as_json_replaces_the_whole_and_longer_names_refine_it(load_text: Loader) -> None:
    backoff = load_text(
        '[reconcile]\nbackoff = { initial = "1s", jitter = 0.5 }',
        {
            "RECONCILER_RECONCILE__BACKOFF__MAX": "2m",
            "RECONCILER_RECONCILE__BACKOFF": '{"initial": "1m", "max": "1m"}',
        },
    ).reconcile.backoff
    assert (backoff.initial, backoff.max, backoff.jitter) == (60_000, 120_000, 0.1)


def test_a_whole_section_may_be_json() -> None:
    settings = load(None, {"RECONCILER_HEARTBEAT": '{"url": "https://hc.example/x"}'})
    assert settings.heartbeat is not None


def test_a_wrong_variable_is_told_by_its_name(problems_of: Problems) -> None:
    def line(variable: str, text: str) -> str:
        (only,) = problems_of(environ={variable: text})
        return only

    timeout = "RECONCILER_RECONCILE__CALLBACK_TIMEOUT"
    assert line(timeout, "5") == (
        f"reconcile.callback_timeout ({timeout}): '5' is not a duration; "
        'write one such as "30s", "15m", "1h30m" or "7d"'
    )
    port = "RECONCILER_LISTENER__PORT"
    assert line(port, "http") == f"listener.port ({port}): 'http' is not a whole number"
    values = "RECONCILER_LISTENER__AUTHORIZATION"
    not_a_list = (
        f"listener.authorization ({values}): is not a list; in a variable it is written as JSON"
    )
    assert line(values, "Bearer a") == not_a_list
    assert line(values, '["Bearer a"') == not_a_list
    assert line(values, "[" * 50_000) == not_a_list
    misspelt = "RECONCILER_LISTENER__PROT"
    assert line(misspelt, "1") == (
        f"listener.prot ({misspelt}): unknown key; did you mean listener.port?"
    )
    section = "RECONCILER_LISTNER__PORT"
    assert line(section, "1") == f"listner ({section}): unknown key; did you mean listener?"
    beyond = "RECONCILER_STORE__SPOOL__PATH"
    assert line(beyond, "x").startswith(f"store.spool.path ({beyond}): unknown key; ")
    header = "RECONCILER_DELIVERY__HEADERS__X_KEY"
    assert line(header, "x") == (
        f"delivery.headers.x_key ({header}): cannot be set by itself; "
        "write all of delivery.headers as JSON in RECONCILER_DELIVERY__HEADERS"
    )


def test_a_variable_below_what_should_be_a_table_does_not_hide_the_mistake(
    problems_of: Problems,
) -> None:
    environ = {"RECONCILER_STORE__URL": "sqlite:///x.db"}
    assert problems_of('store = "x"', environ) == ["store: is not a table"]


def test_other_variables_are_left_alone() -> None:
    environ = {
        "RECONCILER_CONFIG": "x",
        "RECONCILER_TEST_DATABASE": "y",
        "reconciler_listener__port": "9",
        "XRECONCILER_LISTENER__PORT": "9",
    }
    assert load(None, environ).listener.port == 8080
