"""The first moments of a process: signals, closed streams, and a zone with leap seconds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Place

LIMIT = 60.0
RUN = [sys.executable, "-m", "reconciler", "run"]


def started(*before: str, **options: object) -> subprocess.Popen[bytes]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*before, *RUN], **{**pipes, **options})  # type: ignore[call-overload,no-any-return]


def catches(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


def wait_for(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.001)


def ended(daemon: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    try:
        out, err = daemon.communicate(timeout=LIMIT)
    finally:
        daemon.kill()
        daemon.wait()
    return daemon.returncode, out.decode(), err.decode()


def test_nothing_heavy_is_imported_before_signals_are_heard() -> None:
    script = "import sys; import reconciler.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    loaded = set(done.stdout.decode().split())
    assert not loaded & {"asyncio", "typer", "pydantic", "sqlalchemy", "aiohttp", "logging", "ssl"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_in_the_first_moment_ends_with_0_and_in_silence(bare: Place, number: int) -> None:
    daemon = started()
    wait_for(lambda: catches(daemon.pid, signal.SIGTERM) and catches(daemon.pid, signal.SIGHUP))
    daemon.send_signal(number)
    assert ended(daemon) == (0, "", "")


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root")
def test_the_first_process_of_a_container_hears_a_stop_at_once(bare: Place) -> None:
    daemon = started("unshare", "--pid", "--fork", "--kill-child")
    children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children")
    wait_for(lambda: bool(children.read_text()))
    first = int(children.read_text())
    wait_for(lambda: catches(first, signal.SIGTERM) and catches(first, signal.SIGHUP))
    os.kill(first, signal.SIGTERM)
    assert ended(daemon) == (0, "", "")


def test_a_stop_during_the_start_ends_with_0(bare: Place) -> None:
    daemon = started()
    assert daemon.stdout is not None
    assert json.loads(daemon.stdout.readline())["event"] == "starting"
    daemon.send_signal(signal.SIGTERM)
    code, out, err = ended(daemon)
    assert (code, err) == (0, "")
    assert '"event":"stopping"' in out


def closed(redirection: str, command: str) -> tuple[int, str, str]:
    line = f"exec {sys.executable} -m reconciler {command} {redirection}"
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, timeout=LIMIT, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("command", ["list", "status --json", "check-config", "--help"])
def test_a_closed_stdout_is_told_in_one_line(place: Place, command: str) -> None:
    assert closed(">&-", command) == (1, "", "reconciler: stdout is closed\n")


def test_a_closed_stderr_or_stdin_makes_silence(place: Place) -> None:
    assert closed("2>&-", "show unknown") == (3, "", "")
    code, out, err = closed("<&-", "import -")
    assert "Traceback" not in out + err and code in {0, 1}


def test_a_daemon_with_all_streams_closed_writes_into_no_file_of_its_own(bare: Place) -> None:
    line = f"exec {' '.join(RUN)} <&- >&- 2>&-"
    daemon = subprocess.Popen(["/bin/sh", "-c", line])
    try:
        wait_for(lambda: bare.store.exists() and daemon.poll() is None)
        links = [str(Path(f"/proc/{daemon.pid}/fd/{fd}").readlink()) for fd in range(3)]
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(LIMIT) == 0
    finally:
        daemon.kill()
        daemon.wait()
    assert links == [os.devnull] * 3


def test_a_zone_that_counts_leap_seconds_neither_hangs_nor_falsifies(bare: Place) -> None:
    zone = bare.path / "leap"  # a TZif file (RFC 9636) of UTC with 27 leap seconds
    counts = struct.pack(">6l", 0, 0, 1, 0, 1, 4)
    body = struct.pack(">lBB", 0, 0, 0) + b"UTC\0" + struct.pack(">ll", 78_796_800, 27)
    zone.write_bytes(b"TZif" + bytes(16) + counts + body)
    daemon = started(env={**os.environ, "TZ": f":{zone}"})
    assert daemon.stdout is not None
    line = b""
    while b'"summary"' not in line:  # a job of the scheduler
        line = daemon.stdout.readline()
        assert line
    daemon.send_signal(signal.SIGTERM)
    assert ended(daemon)[0] == 0
    logged = datetime.fromisoformat(json.loads(line)["timestamp"])
    assert abs((datetime.now(UTC) - logged).total_seconds()) < 20
