"""Configuration files: settings, or a ConfigError that names the key and no secret."""

from __future__ import annotations

import json
import re
import tomllib
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

from reconciler.config import (
    ConfigError,
    Settings,
    effective,
    in_force,
    load,
    resolve_secrets,
    to_toml,
)
from reconciler.config.schema import every_key, is_secret, locate
from reconciler.config.urls import REDACTED
from tests.fuzz.texts import ANY_TEXT, GOOD_TEXT, variants

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fuzz.conftest import Fuzz

CANARY = "Canary7f3a"
"""Stands in every secret that is generated."""

SAMPLE = "config/reconciler.toml"
KEYS = sorted(every_key())
DEFAULTS = {
    (section, name): value
    for section, keys in effective(Settings()).items()
    for name, value in (keys or {}).items()
    if value is not None
} | {("delivery", "url"): "https://h.example", ("heartbeat", "interval"): "2m"}
SECRETS = [path for path in KEYS if is_secret(locate(path)[0])]
TABLES = sorted({path[:-1] for path in KEYS if len(path) > 1})

BARE = st.one_of(
    st.sampled_from(["true", "false", "nan", "-inf", "1e400", "0", "-1", "9" * 5000, "1.5"]),
    st.sampled_from(["0x" + "f" * 5000, "0b1", "1979-05-27", "1979-05-27T07:32:00Z", "07:32:00"]),
    st.integers().map(str),
    st.just("[" * 2000 + "]" * 2000),
    st.just("{a=" * 700 + "1" + "}" * 700),
)
WORDS = st.sampled_from(
    [
        "30s", "15m", "1h30m", "0s", "9" * 13 + "d", "", " ", "127.0.0.1", "::1", "[::1]:9180",
        "0.0.0.0:80", "unix:/run/x", "unix:" + "x" * 200, "10.0.0.0/8", "::ffff:1.2.3.4/120", "/",
        "/callbacks", "/{dossierId}/{processId}", "https://h.example", "http://h:1", "https://[::1",
        "sqlite:///x.db", "postgresql://h/d", "notify", "fetch", "pending", "ACCEPTED", "adopt",
        "debug", "json", "localhost", "h:99999", "h:" + "9" * 5000, "https://u:p@h/?q#f",
    ]
)  # fmt: skip
SECRET_WORDS = st.sampled_from(
    [
        CANARY, f"Bearer {CANARY}", f" {CANARY}", f"{CANARY}\n", f'"{CANARY}"', f"whsec_{CANARY}Y=",
        f"https://u:{CANARY}@h/{CANARY}?{CANARY}", f"http://u:{CANARY}@proxy:3128",
        f"http://u:{CANARY}@proxy:99999", f"postgresql://u:{CANARY}@h/d?sslmode={CANARY}",
        f"postgresql://u:{CANARY}@@h/d", f"postgresql://u:{CANARY}/x@h:x/d", f"mysql://u:{CANARY}@h",
        f"ftp://{CANARY}", f"{CANARY}\ud800", f"{CANARY}\ufeff", f"Authorization: {CANARY}",
    ]
)  # fmt: skip


def toml(value: Any) -> str:
    """Write a value as TOML does; a text that begins with a line feed is one that is written."""
    match value:
        case str() if value.startswith("\n"):
            return value[1:]
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case dict():
            inner = (f"{json.dumps(name)} = {toml(each)}" for name, each in value.items())
            return f"{{ {', '.join(inner)} }}"
        case _:
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def around(words: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return one of ``words``, alone or in a list or a table."""
    names = st.sampled_from(["value", "X-Key", "onfido", "initial"])
    return st.one_of(
        words, words, st.lists(words, max_size=3), st.dictionaries(names, words, max_size=2)
    )


VALUES = around(st.one_of(WORDS, BARE.map(lambda text: f"\n{text}"), GOOD_TEXT, ANY_TEXT))
ENV = {"CANARY": CANARY, "LINE": f"{CANARY}\n\n", "EMPTY": ""}
CLIENT = {"RECONCILER_ASSURE__CLIENT_ID": "me", "RECONCILER_ASSURE__CLIENT_SECRET": CANARY}


@st.composite
def assignments(draw: st.DrawFn) -> tuple[tuple[str, ...], Any]:
    """Return a key and its value; a secret has the canary in it."""
    path = draw(st.sampled_from(SECRETS) | st.sampled_from(KEYS))
    if path in SECRETS:
        sources = st.sampled_from([{"env": name} for name in (*ENV, "NONE")])
        return path, draw(around(SECRET_WORDS) | sources | st.lists(sources, max_size=2))
    if path in DEFAULTS and draw(st.integers(0, 3)):
        return path, DEFAULTS[path]
    if draw(st.integers(0, 9)) == 0:
        path = (*path[:-1], draw(st.sampled_from(["x", path[-1].upper(), "a b", "é", "url"])))
    return path, draw(VALUES)


@st.composite
def files(draw: st.DrawFn) -> str:
    """Return a file with some keys, which need not fit together."""
    sections: dict[tuple[str, ...], dict[str, Any]] = {}
    for path, value in draw(st.lists(assignments(), max_size=6)):
        sections.setdefault(path[:-1], {})[path[-1]] = value
    lines = []
    for section, keys in sorted(sections.items()):
        lines += [f"[{'.'.join(map(json.dumps, section))}]"] if section else []
        lines += [f"{json.dumps(name)} = {toml(value)}" for name, value in keys.items()]
    return "\n".join(lines)


KEY = r"[A-Za-z0-9_.\[\]-]+|.*'.*'.*"
PLACE = re.compile(rf"({KEY})( \([A-Z0-9_]+\))?: .+|.*reconciler\.toml(:\d+(:\d+)?)?: .+")


def use(path: Path, environ: dict[str, str]) -> None:
    """Load as a daemon does; what is refused must be so as it should be."""
    try:
        settings = load(path, CLIENT | environ)
        secrets = resolve_secrets(settings, ENV)
        in_force(settings, secrets)
    except ConfigError as refusal:
        assert refusal.problems
        for problem in refusal.problems:
            assert PLACE.fullmatch(problem), problem
            assert problem.isprintable(), repr(problem)
        shown = "".join(traceback.format_exception(refusal))
    else:
        told = effective(settings)
        shown = json.dumps(told) + to_toml(told) + repr(settings) + repr(secrets)
    assert CANARY not in shown, shown


@pytest.mark.share(3)
def test_a_file_gives_settings_or_names_the_key_and_no_secret(fuzz: Fuzz, tmp_path: Path) -> None:
    path = tmp_path / "reconciler.toml"

    def check(text: str) -> None:
        path.write_text(text, errors="backslashreplace")
        use(path, {})
        try:
            settings = load(path, {})
        except ConfigError:
            return
        shown = to_toml(effective(settings))
        tomllib.loads(shown)
        if REDACTED not in shown:  # then it says all that there is
            path.write_text(shown)
            assert load(path, {}) == settings

    fuzz(check, text=files())


@pytest.mark.share(5, each=8)
def test_a_damaged_file_is_no_traceback(fuzz: Fuzz, tmp_path: Path, pytestconfig: Any) -> None:
    path = tmp_path / "reconciler.toml"
    sample = (pytestconfig.rootpath / SAMPLE).read_bytes()

    def check(files: list[bytes]) -> int:
        for data in files:
            path.write_bytes(data)
            use(path, {})
        return len(files)

    fuzz(check, files=variants(st.just(sample) | st.binary(max_size=100)))


@pytest.mark.share(2)
def test_the_environment_gives_settings_or_names_the_variable_and_no_secret(
    fuzz: Fuzz, tmp_path: Path
) -> None:
    path = tmp_path / "reconciler.toml"

    def check(text: str, given: list[tuple[tuple[str, ...], Any]], as_json: bool) -> None:
        path.write_text(text, errors="backslashreplace")
        environ = {}
        for key, value in given:
            written = value if isinstance(value, str) and not as_json else json.dumps(value)
            environ["RECONCILER_" + "__".join(key).upper()] = written.replace("\0", "")
        use(path, environ)

    fuzz(check, text=files(), given=st.lists(assignments(), max_size=4), as_json=st.booleans())
