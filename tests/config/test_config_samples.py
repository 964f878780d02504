"""The shipped files against the models: the sample is the documentation, so it must be right."""

import ast
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

from reconciler.config import effective, load, models, resolve_secrets
from reconciler.config.changes import NEEDS_RESTART
from reconciler.config.schema import every_key

SHIPPED = Path(__file__).parents[2] / "config"
SAMPLE = SHIPPED / "reconciler.toml"
EXAMPLE = re.compile(r"^# (\[[a-z.]+\]|[a-z_]+ = .+)$", re.MULTILINE)
SWITCHED_ON = {
    "RECONCILER_DELIVERY__URL": "https://app.example/",
    "RECONCILER_HEARTBEAT__URL": "https://hc.example/",
}


def keys_of(table: dict[str, Any], above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found = set()
    for key, value in table.items():
        found.add((*above, key))
        if isinstance(value, dict):
            found |= keys_of(value, (*above, key))
    return found


def test_every_key_is_in_the_sample() -> None:
    text = SAMPLE.read_text()
    with_examples = keys_of(tomllib.loads(EXAMPLE.sub(r"\1", text)))
    assert set(every_key()) - with_examples == set()


def test_the_sample_says_which_keys_need_a_restart() -> None:
    """The words stand in the comment directly above a key, or above the keys that share it."""
    section, comment, above, said = "", "", "", set()
    for line in SAMPLE.read_text().splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = found[1]
        elif found := re.match(r"([a-z_]+) = ", line):
            above = comment or above
            comment = ""
            if "needs a restart" in above.lower():
                said.add(f"{section}.{found[1]}")
        elif line.startswith("#"):
            comment = f"{comment} {line.lstrip('# ')}"
        else:
            comment = above = ""
    assert said == NEEDS_RESTART


def test_only_keys_without_a_default_are_commented_out() -> None:
    live = keys_of(tomllib.loads(SAMPLE.read_text()))
    assert {".".join(map(str, key)) for key in set(every_key()) - live} == {
        "listener.tls",
        "listener.tls.certificate",
        "listener.tls.key",
        "admin.token",
        "assure.client_id",
        "assure.client_secret",
        "reconcile.providers",
        "delivery.secret",
    }


def test_the_sample_says_the_defaults() -> None:
    assert effective(load(SAMPLE, SWITCHED_ON)) == effective(load(None, SWITCHED_ON))


def test_the_examples_in_the_sample_can_be_used_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "all.toml"
    path.write_text(EXAMPLE.sub(r"\1", SAMPLE.read_text()))
    settings = load(path, SWITCHED_ON)
    assert settings.listener.tls is not None
    assert settings.reconcile.providers["readid"].callback_timeout == 300_000
    assert settings.assure.client_secret is not None
    names = resolve_secrets(settings, {}, unchecked_credentials=True).unchecked
    assert names == ("assure.client_secret", "admin.token", "delivery.secret")


def test_the_sample_needs_nothing_but_the_client() -> None:
    environ = {
        "RECONCILER_ASSURE__CLIENT_ID": "c",
        "RECONCILER_ASSURE__CLIENT_SECRET": "s",
    }
    assert resolve_secrets(load(SAMPLE, environ), environ).assure_client_secret == "s"


def test_the_demo_runs_against_the_simulator_with_nothing_else_set() -> None:
    settings = load(SHIPPED / "demo.toml", {})
    secrets = resolve_secrets(settings, {})
    assert settings.assure.base_url == "http://127.0.0.1:8099"
    assert (settings.assure.client_id, secrets.assure_client_secret) == ("demo", "demo-secret")
    assert secrets.listener_authorization == ("Bearer development-only",)
    assert secrets.store_url.startswith("sqlite:///var/")
    assert settings.store.spool.startswith("var/")
    assert settings.reconcile.callback_timeout <= 30_000


def test_every_key_is_explained_in_the_models() -> None:
    unexplained = []
    for section in ast.parse(inspect.getsource(models)).body:
        if isinstance(section, ast.ClassDef) and section.name != "Settings":
            for key, after in zip(section.body, [*section.body[1:], None], strict=True):
                if isinstance(key, ast.AnnAssign) and not isinstance(after, ast.Expr):
                    unexplained.append(f"{section.name}.{ast.unparse(key.target)}")
    assert unexplained == []
