import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import typer
from typer.testing import CliRunner

from reconciler.cli.simulate import simulate

WRAPPER = "import typer; from reconciler.cli.simulate import simulate; typer.run(simulate)"


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        [sys.executable, "-c", WRAPPER, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def base_url(child: subprocess.Popen[bytes]) -> str:
    """The address from the first line that the command prints for people."""
    assert child.stderr is not None
    line = child.stderr.readline().decode()
    assert line.startswith("Simulated Assure API on http://127.0.0.1:"), line
    return line.split(" on ")[1].split(",")[0]


def get(url: str) -> Any:
    with urlopen(url) as response:
        return json.load(response)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_exits_0(tmp_path: Path, number: signal.Signals) -> None:
    ledger = tmp_path / "ledger.ndjson"
    options = ["--port", "0", "--processes", "5", "--finish-within", "600", "--ledger", str(ledger)]

    with running(*options, "--lose", "0.3", "--seed", "9") as child:
        url = base_url(child)
        listed = get(f"{url}/_simulator/processes")
        faults = get(f"{url}/_simulator/faults")
        child.send_signal(number)
        stdout, stderr = child.communicate()

    assert child.returncode == 0
    assert stdout == b""
    assert b"Stopped. 5 processes" in stderr
    assert faults["lose_callbacks"] == 0.3
    members = ("dossierId", "processId", "provider", "createdAt")
    assert [json.loads(line) for line in ledger.read_text().splitlines()] == [
        {member: process[member] for member in members} for process in listed
    ]


def test_a_ledger_on_stdout_ends_while_the_simulator_goes_on() -> None:
    with running("--port", "0", "--processes", "2", "--ledger", "-") as child:
        assert child.stdout is not None
        ledger = child.stdout.read()
        assert child.poll() is None
        listed = get(f"{base_url(child)}/_simulator/processes")

    made = [json.loads(line)["processId"] for line in ledger.splitlines()]
    assert made == [process["processId"] for process in listed]


def test_a_taken_port_is_one_line_and_exit_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with running("--port", str(taken.getsockname()[1])) as child:
            _, stderr = child.communicate()

    assert child.returncode == 1
    assert stderr.startswith(b"simulate: ")
    assert stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--host", "0.0.0.0", "0.0.0.0"),
        ("--lose", "1.1", "--lose"),
        ("--server-error", "-0.1", "--server-error"),
        ("--port", "65536", "--port"),
        ("--latency", "-1", "--latency"),
        ("--callback-url", "127.0.0.1:8080", "callback URL"),
        ("--authorization", "two\nlines", "Authorization"),
        ("--processes", "some", "--processes"),
    ],
)
def test_wrong_usage_says_what_is_wrong_and_exits_2(option: str, value: str, named: str) -> None:
    app = typer.Typer()
    app.command()(simulate)

    result = CliRunner().invoke(app, [option, value])

    assert result.exit_code == 2
    assert result.stdout == ""
    assert named in result.stderr
