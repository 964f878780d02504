"""A reload takes on every difference but those that need a restart."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from reconciler.config import Change, Configuration, Secrets, compare, load, resolve_secrets
from reconciler.config.changes import NEEDS_RESTART
from reconciler.config.schema import every_key, is_secret, keys_where, locate, section_of
from reconciler.config.secrets import attribute_of

CLIENT = {"RECONCILER_ASSURE__CLIENT_ID": "c", "RECONCILER_ASSURE__CLIENT_SECRET": "s"}
DELIVERY = {"RECONCILER_DELIVERY__URL": "https://app.example/"}
HEARTBEAT = {"RECONCILER_HEARTBEAT__URL": "https://hc.example/"}
TLS = {"RECONCILER_LISTENER__TLS": '{"certificate": "c.pem", "key": "k.pem"}'}
WHOLE = {**CLIENT, **DELIVERY, **HEARTBEAT, **TLS}
OTHER: dict[str, Any] = {
    "listener.host": "127.0.0.2",
    "listener.port": 8081,
    "listener.path": "/elsewhere",
    "listener.authorization": ["Bearer canary"],
    "listener.allow_from": ["10.0.0.0/8"],
    "listener.trusted_proxies": ["10.0.0.0/8"],
    "listener.max_body": 2048,
    "listener.keepalive": "20s",
    "listener.unknown_process": "ignore",
    "listener.tls.certificate": "d.pem",
    "listener.tls.key": "l.pem",
    "admin.listen": "127.0.0.1:9999",
    "admin.token": "canary",
    "admin.hosts": ["reconciler.internal"],
    "assure.base_url": "https://other.example",
    "assure.token_url": "https://other.example/token",
    "assure.client_id": "other",
    "assure.client_secret": "canary",
    "assure.scope": "other",
    "assure.process_path": "/d/{dossierId}/{processId}",
    "assure.notify_path": "/d/{dossierId}/{processId}/n",
    "assure.notify_method": "PUT",
    "assure.timeout": "5s",
    "assure.max_concurrency": 3,
    "assure.requests_per_second": 7,
    "assure.proxy": "http://u:canary@proxy.example:3128",
    "assure.ca_file": "ca.pem",
    "assure.final_statuses": ["accepted"],
    "assure.pending_statuses": ["pending"],
    "reconcile.callback_timeout": "1m",
    "reconcile.sweep_interval": "1s",
    "reconcile.ladder": ["fetch"],
    "reconcile.notify_grace": "1m",
    "reconcile.confirm_callbacks": False,
    "reconcile.give_up_after": "1d",
    "reconcile.backoff.initial": "1m",
    "reconcile.backoff.factor": 3.0,
    "reconcile.backoff.max": "2h",
    "reconcile.backoff.jitter": 0.2,
    "store.url": "postgresql://u:canary@other.example/d",
    "store.spool": "other",
    "store.migrate_on_start": False,
    "delivery.url": "https://other.example/",
    "delivery.secret": ["whsec_Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5"],
    "delivery.headers": {"X-Key": "canary"},
    "delivery.timeout": "5s",
    "delivery.max_concurrency": 3,
    "delivery.give_up_after": "1d",
    "delivery.proxy": "http://u:canary@proxy.example:3128",
    "delivery.ca_file": "ca.pem",
    "delivery.backoff.initial": "6s",
    "delivery.backoff.factor": 3.0,
    "delivery.backoff.max": "7h",
    "delivery.backoff.jitter": 0.2,
    "heartbeat.url": "https://other.example/",
    "heartbeat.interval": "2m",
    "retention.settled": "1d",
    "retention.callbacks": "1d",
    "log.level": "debug",
    "log.format": "json",
}
"""Another value than the default, for each key."""


def keys() -> Iterator[str]:
    """Every key that holds a value; ``reconcile.providers`` for all below it."""
    for path in every_key():
        field, _ = locate(path)
        assert field is not None
        if section_of(field) is None or path == ("reconcile", "providers"):
            yield ".".join(map(str, path))


def reading(environ: dict[str, str], *, files: dict[str, str] | None = None) -> Configuration:
    settings = load(None, environ)
    return Configuration(settings, resolve_secrets(settings, environ), files or {})


def variable(key: str) -> str:
    return "RECONCILER_" + key.upper().replace(".", "__")


def changed(key: str, value: Any) -> Change:
    text = value if isinstance(value, str) else json.dumps(value)
    environ = {**WHOLE, variable(key): text}
    if key.startswith("listener.tls."):
        tls = {"certificate": "c.pem", "key": "k.pem", key.rpartition(".")[2]: value}
        environ = {**WHOLE, "RECONCILER_LISTENER__TLS": json.dumps(tls)}
    return compare(reading(WHOLE), reading(environ))


def test_these_keys_and_no_others_need_a_restart() -> None:
    assert {
        "admin.listen",
        "listener.host",
        "listener.port",
        "log.format",
        "store.migrate_on_start",
        "store.spool",
        "store.url",
    } == NEEDS_RESTART


def test_every_key_is_tried_here() -> None:
    assert set(keys()) - OTHER.keys() == {"reconcile.providers"}


def test_every_secret_has_an_attribute_of_its_own() -> None:
    attributes = [attribute_of(path) for path in keys_where(is_secret)]
    assert set(attributes) <= {each.name for each in fields(Secrets)}
    assert len(set(attributes)) == len(attributes)


@pytest.mark.parametrize("key", [".".join(path) for path in keys_where(is_secret)])
def test_every_secret_is_kept_out_of_the_log(key: str) -> None:
    before = reading(WHOLE).secrets.all_values()
    text = OTHER[key] if isinstance(OTHER[key], str) else json.dumps(OTHER[key])
    hidden = reading({**WHOLE, variable(key): text}).secrets.all_values()
    assert set(hidden) - set(before) != set()


@pytest.mark.parametrize("key", sorted(OTHER))
def test_a_change_of_any_key_is_noticed_and_done_or_named(key: str) -> None:
    change = changed(key, OTHER[key])
    if key in NEEDS_RESTART:
        assert (change.changed, change.needs_restart) == ((), (key,))
        assert change.configuration.settings == reading(WHOLE).settings
    else:
        assert (change.changed, change.needs_restart) == ((key,), ())
        assert change.touches(key)
        assert change.touches(key.split(".", maxsplit=1)[0])
        assert change.configuration.settings != reading(WHOLE).settings
    assert "canary" not in repr(change)


def test_nothing_changed_is_no_change() -> None:
    change = compare(reading(WHOLE), reading(WHOLE))
    assert (change.changed, change.needs_restart) == ((), ())
    assert not change.touches("assure", "listener")


def test_a_section_that_is_switched_on_or_off_stands_for_its_keys() -> None:
    on, off = reading({**CLIENT, **DELIVERY}), reading(CLIENT)
    assert compare(off, on).changed == compare(on, off).changed == ("delivery",)
    assert compare(off, on).touches("delivery.url")
    with_tls = reading({**CLIENT, **TLS}, files={"listener.tls.key": "1"})
    assert compare(off, with_tls).changed == ("listener.tls",)


def test_a_providers_own_setting_is_named_with_the_provider(tmp_path: Path) -> None:
    file = tmp_path / "reconciler.toml"

    def read(text: str) -> Configuration:
        file.write_text(text)
        settings = load(file, CLIENT)
        return Configuration(settings, resolve_secrets(settings, CLIENT), {})

    without, one = read(""), read("[reconcile.providers.ReadID]\ncallback_timeout='1m'")
    other = read("[reconcile.providers.readid]\ncallback_timeout='2m'")
    assert compare(without, one).changed == ("reconcile.providers.readid",)
    assert compare(one, other).changed == ("reconcile.providers.readid.callback_timeout",)


def test_a_file_with_other_content_under_the_same_name_is_a_change() -> None:
    old = reading(WHOLE, files={"listener.tls.certificate": "1", "listener.tls.key": "2"})
    new = reading(WHOLE, files={"listener.tls.certificate": "3", "listener.tls.key": "2"})
    assert compare(old, new).changed == ("listener.tls.certificate",)


def test_a_secret_that_moves_without_changing_is_no_change(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("s\n")
    moved = {**WHOLE, "RECONCILER_ASSURE__CLIENT_SECRET": json.dumps({"file": f"{tmp_path}/s"})}
    assert compare(reading(WHOLE), reading(moved)).changed == ()


def test_an_address_that_stays_keeps_the_token_that_it_needs() -> None:
    public = {
        **CLIENT,
        "RECONCILER_ADMIN__LISTEN": "0.0.0.0:9180",
        "RECONCILER_ADMIN__TOKEN": "kept",
    }
    change = compare(reading(public), reading(CLIENT))
    assert change.needs_restart == ("admin.listen", "admin.token")
    assert change.configuration.secrets.admin_token == "kept"
    assert str(change.configuration.settings.admin.listen) == "0.0.0.0:9180"


class TestCredentials:
    """Of systemd: they are what they were when the unit began."""

    @pytest.fixture
    def environ(self, tmp_path: Path) -> dict[str, str]:
        (tmp_path / "one").write_text("first")
        return {
            **CLIENT,
            "CREDENTIALS_DIRECTORY": str(tmp_path),
            "RECONCILER_ASSURE__CLIENT_SECRET": '{"credential": "one"}',
        }

    def again(self, present: Configuration, environ: dict[str, str]) -> Change:
        settings = load(None, environ)
        held = present.secrets.credentials
        return compare(
            present,
            Configuration(settings, resolve_secrets(settings, environ, held=held), {}),
        )

    def test_one_that_is_in_use_is_not_read_again(
        self, environ: dict[str, str], tmp_path: Path
    ) -> None:
        present = reading(environ)
        (tmp_path / "one").write_text("second")
        change = self.again(present, environ)
        assert (change.changed, change.needs_restart) == ((), ())
        (tmp_path / "one").unlink()
        change = self.again(change.configuration, environ)
        assert (change.changed, change.needs_restart) == ((), ())
        assert change.configuration.secrets.assure_client_secret == "first"

    def test_a_new_one_that_is_not_there_needs_a_restart_and_the_old_value_stays(
        self, environ: dict[str, str]
    ) -> None:
        present = reading(environ)
        new = {
            **environ,
            "RECONCILER_ASSURE__CLIENT_SECRET": '{"credential": "two"}',
            "RECONCILER_LISTENER__AUTHORIZATION": '["a-literal", {"credential": "three"}]',
            "RECONCILER_LISTENER__MAX_BODY": "4096",
        }
        change = self.again(present, new)
        assert change.needs_restart == ("assure.client_secret", "listener.authorization")
        assert change.changed == ("listener.max_body",)
        assert change.configuration.secrets.assure_client_secret == "first"
        assert change.configuration.secrets.listener_authorization == ()
        assert change.configuration.settings.listener.authorization == ()
        # A value that was put back is asked for again with the next reload, and no error then.
        assert self.again(change.configuration, new).needs_restart == change.needs_restart

    def test_a_new_section_without_its_credential_stays_off(self, environ: dict[str, str]) -> None:
        new = {
            **environ,
            **DELIVERY,
            "RECONCILER_DELIVERY__SECRET": '{"credential": "two"}',
        }
        change = self.again(reading(environ), new)
        assert change.needs_restart == ("delivery.secret",)
        assert change.configuration.settings.delivery is None

    def test_a_new_one_that_is_there_is_taken_on(
        self, environ: dict[str, str], tmp_path: Path
    ) -> None:
        (tmp_path / "two").write_text("other")
        change = self.again(
            reading(environ),
            {**environ, "RECONCILER_ASSURE__CLIENT_SECRET": '{"credential": "two"}'},
        )
        assert change.changed == ("assure.client_secret",)
        assert change.configuration.secrets.assure_client_secret == "other"
        held = change.configuration.secrets.credentials
        assert held == {"one": "first", "two": "other"}
