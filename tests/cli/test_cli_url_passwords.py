"""No password of a URL shows in a message of a command or a daemon, whatever signs it has."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Place

CANARY = "canary-7f3a"
PASSWORDS = [
    f"a@{CANARY}",
    f"{CANARY}/x",
    f"x/{CANARY}",
    f"a?{CANARY}#",
    f"[{CANARY}]",
    f"%{CANARY}",
]
NOWHERE = "postgresql://user:{}@127.0.0.1:1/ledger"
COMMANDS = [["list"], ["status"], ["show", "p"], ["init-db"], ["check-db"], ["track", "d", "p"]]


@pytest.mark.parametrize("password", PASSWORDS)
def test_no_command_shows_the_password_of_the_store(
    bare: Place, reconciler: Command, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    for text in (password, quote(password, safe="")):
        monkeypatch.setenv("RECONCILER_STORE__URL", NOWHERE.format(text))
        for arguments in COMMANDS:
            done = reconciler(*arguments)
            assert done.code in {1, 78} and done.said
            assert CANARY not in done.out + done.err
    monkeypatch.delenv("RECONCILER_STORE__URL")
    copied = reconciler("copy", "--to", NOWHERE.format(password))
    assert copied.code != 0 and copied.said
    assert CANARY not in copied.out + copied.err


def test_a_daemon_shows_no_password_in_its_log_nor_at_ready(bare: Place) -> None:
    password = quote(f"{CANARY}@/:#?%[]", safe="")
    bare.config.write_text(f"""
        [listener]
        port = 0
        [admin]
        listen = "127.0.0.1:0"
        [assure]
        client_id = "client"
        client_secret = "client-secret"
        base_url = "http://127.0.0.1:1"
        token_url = "http://127.0.0.1:1/token"
        proxy = "http://user:{password}@127.0.0.1:1"
        [delivery]
        url = "http://user:{password}@127.0.0.1:1/events"
        [heartbeat]
        url = "http://user:{password}@127.0.0.1:1/ping"
        [store]
        url = "{NOWHERE.format(password)}"
        spool = "{bare.path}/spool"
        """)
    daemon = subprocess.Popen(
        [sys.executable, "-m", "reconciler", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        seen = _read_until(daemon, "ready")
        answer = _ready(json.loads(seen[-1])["admin"])
        broken = bare.config.read_text().replace(
            NOWHERE.format(password), NOWHERE.format("a@canary-7f3a")
        )
        bare.config.write_text(broken)
        daemon.send_signal(signal.SIGHUP)
        seen += _read_until(daemon, "config_reload_failed")
        daemon.send_signal(signal.SIGTERM)
        rest, _ = daemon.communicate(timeout=60)
    finally:
        daemon.kill()
        daemon.wait()
    everything = "".join(seen) + rest.decode() + answer
    assert "store_unavailable" in everything and "%40" in everything
    assert CANARY not in everything and password not in everything
    assert daemon.returncode == 0


def _read_until(daemon: subprocess.Popen[bytes], event: str) -> list[str]:
    assert daemon.stdout is not None
    lines: list[str] = []
    while not lines or json.loads(lines[-1])["event"] != event:
        line = daemon.stdout.readline().decode()
        assert line, lines
        lines.append(line)
    return lines


def _ready(admin: str) -> Any:
    try:
        with urllib.request.urlopen(f"{admin}/ready", timeout=30) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
