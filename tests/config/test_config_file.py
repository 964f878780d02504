"""Finding the file, reading it, and what it inherits."""

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.config import ConfigError, Settings, find_config, load
from reconciler.ledger.policy import Verb

Loader = Callable[..., Settings]
Problems = Callable[..., list[str]]


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_the_named_file_is_taken_before_all_others(tmp_path: Path) -> None:
    named, of_environment = put(tmp_path / "a.toml"), put(tmp_path / "b.toml")
    local, system = put(tmp_path / "config/reconciler.toml"), put(tmp_path / "etc.toml")
    environ = {"RECONCILER_CONFIG": "b.toml"}
    assert find_config(Path("a.toml"), environ, tmp_path, system=system) == named
    assert find_config(None, environ, tmp_path, system=system) == of_environment
    assert find_config(None, {"RECONCILER_CONFIG": ""}, tmp_path, system=system) == local
    local.unlink()
    assert find_config(None, {}, tmp_path, system=system) == system


def test_a_named_file_that_is_not_there_is_no_reason_to_take_another(tmp_path: Path) -> None:
    put(tmp_path / "config/reconciler.toml")
    with pytest.raises(ConfigError) as refusal:
        find_config(Path("a.toml"), {}, tmp_path)
    assert refusal.value.problems == (f"{tmp_path}/a.toml: no such file (named by --config)",)
    with pytest.raises(ConfigError) as refusal:
        find_config(None, {"RECONCILER_CONFIG": "b.toml"}, tmp_path)
    assert refusal.value.problems == (
        f"{tmp_path}/b.toml: no such file (named by $RECONCILER_CONFIG)",
    )


def test_where_a_file_was_looked_for_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        find_config(None, {}, tmp_path, system=tmp_path / "etc.toml")
    assert refusal.value.problems == (
        f"no configuration: looked at {tmp_path}/config/reconciler.toml and {tmp_path}/etc.toml; "
        "name one with --config or $RECONCILER_CONFIG",
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[store]\nurl = \n", ":2:7: Invalid value"),
        (b'[store]\nurl = "a\n', ":2:9: Illegal character '\\n'"),
        (b"[store", ":1:7: Expected ']' at the end of a table declaration"),
        (b"[store]\n[store]\n", ":2:7: Cannot declare ('store',) twice"),
        (b"[store]\nurl = '\xff'\n", ":2: is not UTF-8 text"),
        (b"x = " + b"1" * 5000, ": Exceeds the limit"),
        (b"x = " + b"[" * 5000, ": has too many brackets within brackets"),
    ],
)
def test_a_syntax_error_is_told_with_its_place(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refusal:
        load(path, {})
    (line,) = refusal.value.problems
    assert line.startswith(f"{path}{problem}")
    assert "\n" not in line


def test_a_directory_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, {})
    assert refusal.value.problems == (f"{tmp_path}: cannot be read: Is a directory",)


def test_no_file_and_no_variable_give_the_defaults() -> None:
    settings = load(None, {})
    assert settings.listener.port == 8080
    assert settings.delivery is None
    assert settings.heartbeat is None


def test_a_section_without_url_is_off_but_checked(load_text: Loader, problems_of: Problems) -> None:
    assert load_text('[delivery]\ntimeout = "1s"').delivery is None
    assert load_text('[heartbeat]\ninterval = "2m"').heartbeat is None
    assert problems_of('[delivery]\ntimeot = "1s"') == [
        "delivery.timeot: unknown key; did you mean delivery.timeout?"
    ]


def test_a_provider_has_the_general_keys_that_it_does_not_set(load_text: Loader) -> None:
    reconcile = load_text("""
        [reconcile]
        callback_timeout = "1h"
        ladder = ["fetch"]
        backoff = { initial = "1m", factor = 3.0, max = "2h" }
        [reconcile.providers.ReadID]
        callback_timeout = "5m"
        backoff = { max = "3h", jitter = 0.5 }
        [reconcile.providers.onfido]
        """).reconcile
    readid, onfido = reconcile.providers["readid"], reconcile.providers["onfido"]
    assert readid.callback_timeout == 5 * 60_000
    assert readid.ladder == (Verb.FETCH,)
    assert readid.backoff.model_dump() == {
        "initial": 60_000,
        "factor": 3.0,
        "max": 3 * 3_600_000,
        "jitter": 0.5,
    }
    assert onfido.callback_timeout == 3_600_000
    assert onfido.backoff == reconcile.backoff
    assert onfido.give_up_after == reconcile.give_up_after


def test_the_most_impatient_provider_decides_how_often_the_ledger_is_searched(
    load_text: Loader,
) -> None:
    text = """
        [reconcile]
        sweep_interval = "4s"
        [reconcile.providers.readid]
        sweep_interval = "1s"
        [reconcile.providers.onfido]
        """
    assert load_text(text).reconcile.shortest_sweep == 1_000
    assert load_text(text.replace("1s", "9s")).reconcile.shortest_sweep == 4_000


def test_a_single_address_is_a_network_and_a_slash_after_the_base_url_is_dropped(
    load_text: Loader,
) -> None:
    settings = load_text(
        '[listener]\nallow_from = ["10.0.0.1"]\n[assure]\nbase_url = "http://[::1]:8099/"'
    )
    assert str(settings.listener.allow_from[0]) == "10.0.0.1/32"
    assert settings.assure.base_url == "http://[::1]:8099"
