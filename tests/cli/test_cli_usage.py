"""Exit codes, help, versions, and where the configuration is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler import __version__

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Place

COMMANDS = [
    "run", "check-config", "init-db", "track", "import", "list", "show", "status", "recheck",
    "forget", "backup", "check-db", "simulate", "demo",
]  # fmt: skip


def test_the_console_script_and_the_module_are_the_same(bare: Place) -> None:
    script = Path(sys.executable).with_name("reconciler")
    for command in ([str(script)], [sys.executable, "-m", "reconciler"]):
        done = subprocess.run([*command, "--version"], capture_output=True, check=True)

        assert done.stdout.decode() == f"reconciler {__version__}\n"
        assert done.stderr == b""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_version_are_everywhere(reconciler: Command, command: str) -> None:
    for option in ("--help", "-h"):
        shown = reconciler(command, option)
        assert (shown.code, shown.err) == (0, "")
        assert shown.out.startswith(f"Usage: reconciler {command} ")
    version = reconciler(command, "--version")
    assert (version.code, version.out, version.err) == (0, f"reconciler {__version__}\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_the_configuration_after_its_name(
    reconciler: Command, command: str
) -> None:
    assert "--config" in reconciler(command, "--help").out


def test_the_help_names_every_command_of_the_contract(reconciler: Command) -> None:
    shown = reconciler("--help")

    assert shown.code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in shown.out


def test_version_as_the_name_of_a_process_is_no_option(place: Place, reconciler: Command) -> None:
    assert reconciler("show", "--", "--version").code == 3


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "Usage: "),
        (("frobnicate",), "frobnicate"),
        (("list", "--frobnicate"), "--frobnicate"),
        (("--frobnicate", "list"), "--frobnicate"),
        (("list", "--limit", "0"), "--limit"),
        (("list", "--limit", "many"), "--limit"),
        (("list", "--state", "lost"), "--state"),
        (("list", "surplus"), "surplus"),
        (("list", "--overdue", "--state", "gone"), "exclude each other"),
        (("list", "--cursor", "made-up"), "cursor"),
        (("track", "d1"), "PROCESS_ID"),
        (("show",), "PROCESS_ID"),
        (("show", "--config"), "--config"),
        (("recheck",), "name processes, or give --all-overdue"),
        (("recheck", "p1", "--all-overdue"), "name processes, or give --all-overdue"),
        (("recheck", "p1", "--notify", "--fetch"), "exclude each other"),
        (("track", "d1", "p1", "--created-at", "yesterday"), "createdAt is not an ISO 8601 time"),
        (("track", "d1", "p1", "--created-at", "2026-03-01"), "createdAt has no time zone"),
        (("track", "d1", ".."), "processId must not be . or .."),
        (("track", "", "p1"), "dossierId must not be empty"),
        (("demo", "--processes", "0"), "--processes"),
        (("backup",), "PATH"),
        (("check-db", "surplus"), "surplus"),
    ],
)
def test_wrong_usage_is_2_and_says_what_is_wrong_on_stderr(
    place: Place, reconciler: Command, arguments: tuple[str, ...], named: str
) -> None:
    done = reconciler(*arguments)

    assert (done.code, done.out) == (2, "")
    assert named in done.err
    assert place.query("SELECT * FROM processes") == []


def test_the_configuration_is_named_before_or_after_the_command(
    place: Place, reconciler: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECONCILER_CONFIG")
    path = str(place.config)

    assert reconciler("list").code == 78
    assert reconciler("--config", path, "list").code == 0
    assert reconciler("list", "--config", path).code == 0
    assert reconciler("--config", "nowhere.toml", "list", "--config", path).code == 0
    assert reconciler("--config", path, "list", "--config", "nowhere.toml").code == 78


def test_a_named_configuration_goes_before_that_of_the_environment(
    place: Place, reconciler: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_CONFIG", "nowhere.toml")

    refused = reconciler("list")

    assert (refused.code, refused.out) == (78, "")
    assert refused.said == [
        f"reconciler: {place.path}/nowhere.toml: no such file (named by $RECONCILER_CONFIG)"
    ]
    assert reconciler("list", "--config", str(place.config)).code == 0


def test_without_a_name_it_is_looked_for_below_the_working_directory(
    place: Place, reconciler: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECONCILER_CONFIG")
    refused = reconciler("list")
    (place.path / "config").mkdir()
    place.config.rename(place.path / "config" / "reconciler.toml")

    assert refused.code == 78
    assert "config/reconciler.toml and /etc/reconciler/reconciler.toml" in refused.err
    assert reconciler("list").code == 0


@pytest.mark.parametrize(
    "arguments",
    [("list",), ("status",), ("track", "d1", "p1"), ("run",), ("check-config",), ("init-db",)],
)
def test_an_invalid_configuration_is_78_with_a_line_for_each_mistake(
    place: Place, reconciler: Command, arguments: tuple[str, ...]
) -> None:
    place.config.write_text('[store]\nurl = "ledger.db"\nspol = "x"\n[reconcile]\nladder = []\n')

    refused = reconciler(*arguments)

    assert (refused.code, refused.out) == (78, "")
    keys = ["store.spol", "store.url", "reconcile.ladder"]
    assert sorted(line.split(": ")[1] for line in refused.said) == sorted(keys)
    assert "reconciler: store.spol: unknown key; did you mean store.spool?" in refused.said


def test_only_the_secret_of_the_store_is_asked_for_beside_the_daemon(
    place: Place, reconciler: Command
) -> None:
    text = place.config.read_text()
    place.config.write_text(text.replace('"canary-client-secret"', '{ env = "NOT_SET" }'))

    assert reconciler("list").code == 0
    for command in ("run", "check-config"):
        refused = reconciler(command)
        assert refused.code == 78
        assert refused.said == [
            "reconciler: assure.client_secret: environment variable NOT_SET is not set"
        ]
