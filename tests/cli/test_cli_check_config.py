"""``check-config``: what is valid, what is not, and that no secret is ever shown."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest

from reconciler.config import load

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Place, Ran

CANARIES = """\
[listener]
authorization = ["Bearer canary-listener", {{ env = "CANARY_VARIABLE" }}]
[admin]
token = {{ file = "{path}/admin-token" }}
[assure]
base_url = "https://api.example"
token_url = "https://api.example/token?key=canary-query"
client_id = "client"
client_secret = "canary-client-secret"
proxy = "http://canary-user:canary-password@proxy.example:3128"
[store]
url = "sqlite:///{path}/ledger.db"
[delivery]
url = "https://app.example/events?token=canary-delivery"
secret = "whsec_Y2FuYXJ5LXNpZ25pbmctc2VjcmV0LTAxMjM0NTY3ODk="
headers = {{ X-Key = "canary-header" }}
[heartbeat]
url = "https://beat.example/ping?canary-heartbeat"
"""


def test_a_valid_configuration_is_printed_as_toml_that_says_the_same(
    bare: Place, reconciler: Command
) -> None:
    done = reconciler("check-config")

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"# {bare.config} is valid. In effect:\n")
    shown = tomllib.loads(done.out)
    assert shown["listener"]["port"] == 8080
    assert shown["admin"]["listen"] == "127.0.0.1:0"
    assert shown["reconcile"]["callback_timeout"] == "15m"
    assert shown["store"]["spool"] == f"{bare.path}/spool"


def test_for_programs_it_is_json(bare: Place, reconciler: Command) -> None:
    done = reconciler("check-config", "--json")

    assert (done.code, done.err) == (0, "")
    assert done.json["reconcile"]["ladder"] == ["notify", "fetch"]


def test_it_creates_and_touches_nothing(bare: Place, reconciler: Command) -> None:
    reconciler("check-config")

    assert [path.name for path in bare.path.iterdir()] == ["reconciler.toml"]


def test_an_override_of_the_environment_is_in_effect(
    bare: Place, reconciler: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_RECONCILE__CALLBACK_TIMEOUT", "90s")

    assert reconciler("check-config", "--json").json["reconcile"]["callback_timeout"] == "1m30s"


def test_no_secret_is_shown_in_any_form(
    bare: Place, reconciler: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_VARIABLE", "Bearer canary-from-variable")
    (bare.path / "admin-token").write_text("canary-token\n")
    bare.config.write_text(CANARIES.format(path=bare.path))

    for options in ((), ("--json",)):
        done = reconciler("check-config", *options)
        assert (done.code, done.err) == (0, "")
        assert "canary" not in done.out
        assert "Y2FuYXJ5" not in done.out
        for host in ("api.example", "proxy.example:3128", "app.example", "CANARY_VARIABLE"):
            assert host in done.out


def test_no_secret_is_shown_when_the_configuration_is_wrong(
    bare: Place, reconciler: Command
) -> None:
    wrong = CANARIES.replace("https://api.example/token", "http://canary-user@api.example/token")
    wrong = wrong.replace('"Bearer canary-listener"', '"Bearer canary\\n-listener"')
    wrong = wrong.replace('"canary-client-secret"', "[17]").replace("proxy.example:3128", "")
    bare.config.write_text(wrong.format(path=bare.path))

    done = reconciler("check-config")

    assert (done.code, done.out) == (78, "")
    assert len(done.said) >= 3
    assert "canary" not in done.err


def test_every_mistake_has_a_line_with_key_value_and_what_is_allowed(
    bare: Place, reconciler: Command
) -> None:
    bare.config.write_text(
        "[listner]\n[listener]\nport = 70000\n[reconcile]\ncallback_timeout = 900\n"
        'sweep_intervall = "5s"\n[log]\nlevel = "verbose"\n[assure]\nmax_concurrency = "16"\n'
    )

    done = reconciler("check-config")

    lines = {line.split(": ")[1]: line for line in done.said}
    assert (done.code, done.out) == (78, "")
    assert "did you mean listener?" in lines["listner"]
    assert "70000 must be from 0 to 65535" in lines["listener.port"]
    assert (
        "900 is a number without a unit; write one such as" in lines["reconcile.callback_timeout"]
    )
    assert "did you mean reconcile.sweep_interval?" in lines["reconcile.sweep_intervall"]
    assert "'verbose'" in lines["log.level"] and "'info'" in lines["log.level"]
    assert "'16' is not a whole number" in lines["assure.max_concurrency"]
    assert len(lines) == len(done.said) == 6


def test_a_short_secret_is_a_warning(bare: Place, reconciler: Command) -> None:
    bare.config.write_text('[listener]\nauthorization = ["order-1"]\n' + bare.config.read_text())

    done = reconciler("check-config")

    assert done.code == 0
    assert len(done.said) == 1
    assert done.said[0].startswith(
        "reconciler: listener.authorization: warning: has fewer than 8 characters"
    )
    assert "order-1" not in done.out + done.err


def test_a_credential_outside_the_unit_is_unchecked(bare: Place, reconciler: Command) -> None:
    text = bare.config.read_text()
    bare.config.write_text(
        text.replace('"canary-client-secret"', '{ credential = "client-secret" }')
    )

    outside = reconciler("check-config", "--json")
    run = reconciler("run")

    assert outside.code == 0
    assert outside.json["assure"]["client_secret"] == {"credential": "client-secret"}
    assert outside.said == [
        "reconciler: assure.client_secret: not checked; this credential can only be read inside "
        "the systemd unit"
    ]
    assert run.code == 78
    assert "assure.client_secret" in run.err


def test_a_credential_inside_the_unit_is_checked(
    bare: Place, reconciler: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = bare.config.read_text()
    bare.config.write_text(
        text.replace('"canary-client-secret"', '{ credential = "client-secret" }')
    )
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(bare.path))

    missing = reconciler("check-config")
    (bare.path / "client-secret").write_text("canary-secret\n")
    there = reconciler("check-config")

    assert (missing.code, len(missing.said)) == (78, 1)
    assert (there.code, there.err) == (0, "")


def test_a_certificate_key_or_authority_that_cannot_be_used_is_a_mistake(
    bare: Place, reconciler: Command
) -> None:
    (bare.path / "bad.pem").write_text("canary")
    text = bare.config.read_text()
    tls = f'tls = {{ certificate = "{bare.path}/none.pem", key = "{bare.path}/bad.pem" }}'
    bare.config.write_text(f"[listener]\n{tls}\n{text}")
    missing = reconciler("check-config")
    bare.config.write_text(f"[listener]\n{tls.replace('none', 'bad')}\n{text}")
    bad = reconciler("check-config")
    bare.config.write_text(text.replace("[assure]", f'[assure]\nca_file = "{bare.path}/bad.pem"'))
    authority = reconciler("check-config")

    assert missing.code == bad.code == authority.code == 78
    assert missing.said == [
        f"reconciler: listener.tls.certificate: file '{bare.path}/none.pem' cannot be read: "
        "No such file or directory"
    ]
    assert bad.said[0].startswith("reconciler: listener.tls: cannot use ")
    assert authority.said == [
        f"reconciler: assure.ca_file: '{bare.path}/bad.pem': no certificate in PEM form"
    ]
    assert "canary" not in missing.err + bad.err + authority.err


def test_a_key_that_only_the_unit_can_read_is_unchecked(bare: Place, reconciler: Command) -> None:
    key = "/run/credentials/reconciler.service/tls.pem"
    tls = f'[listener]\ntls = {{ certificate = "{key}", key = "{key}" }}\n'
    bare.config.write_text(tls + bare.config.read_text())
    done = reconciler("check-config")
    assert done.code == 0
    assert [line.rpartition("; ")[2] for line in done.said] == ["not checked"] * 2


def test_what_is_not_toml_is_named_with_its_place(bare: Place, reconciler: Command) -> None:
    bare.config.write_text("[listener]\nport = \n")

    done = reconciler("check-config")

    assert (done.code, len(done.said)) == (78, 1)
    assert f"{bare.config}:2:8: " in done.said[0]


def test_what_it_prints_can_be_read_again(bare: Place, reconciler: Command) -> None:
    shown = reconciler("check-config").out
    again = bare.path / "again.toml"
    again.write_text(shown)

    assert load(again, {}).reconcile == load(bare.config, {}).reconcile
    assert json.loads(reconciler("check-config", "--json").out)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_a_self_signed_certificate_is_a_note_and_one_without_its_chain_a_mistake(
    bare: Place, reconciler: Command
) -> None:
    new = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    for command in (
        f"{new} -x509 -days 2 -subj /CN=root -keyout root.key -out root.pem",
        f"{new} -subj /CN=leaf -keyout leaf.key -out leaf.csr",
        "openssl x509 -req -in leaf.csr -CA root.pem -CAkey root.key -CAcreateserial -out leaf.pem",
    ):
        subprocess.run(command.split(), cwd=bare.path, check=True, capture_output=True)
    text = bare.config.read_text()

    def checked(name: str) -> Ran:
        tls = f'tls = {{ certificate = "{bare.path}/{name}.pem", key = "{bare.path}/{name}.key" }}'
        bare.config.write_text(f"[listener]\n{tls}\n{text}")
        return reconciler("check-config")

    own = checked("root")
    assert own.code == 0
    assert [line.split(": ")[1] for line in own.said] == ["listener.tls.certificate"]
    assert "note: is self-signed" in own.said[0]
    lone = checked("leaf")
    assert (lone.code, len(lone.said)) == (78, 1)
    assert "without its chain" in lone.said[0]
    with (bare.path / "leaf.pem").open("a") as file:
        file.write((bare.path / "root.pem").read_text())
    whole = checked("leaf")
    assert (whole.code, whole.said) == (0, [])
