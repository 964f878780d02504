"""``demo``: what it shows, and that it leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command, Place, Terminal


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files."""
    path = tmp_path / "scratch"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    return path


def test_for_programs_it_prints_only_its_summary(
    bare: Place, scratch: Path, child: Command
) -> None:
    done = child("demo", "--processes", "20", "--json", env={"RECONCILER_CONFIG": "nowhere"})

    assert (done.code, done.err) == (0, "")
    summary = done.json
    assert summary["processes"] == summary["settledWithTrueStatus"] == 20
    by = ("settledByCallback", "settledByNotify", "settledByFetch")
    assert sum(summary[name] for name in by) == 20
    assert summary["callbacksLost"] > 0
    assert list(scratch.iterdir()) == []


def test_for_people_it_shows_each_recovery_and_ends_with_a_summary(
    bare: Place, scratch: Path, terminal: Terminal
) -> None:
    code, shown = terminal("demo", "--processes", "20")

    assert code == 0
    assert " by Get process after " in shown or " by Notify after " in shown
    assert "settled with their true status" in shown
    assert list(scratch.iterdir()) == []


def test_ctrl_c_ends_it_without_a_trace(bare: Place, scratch: Path) -> None:
    started = subprocess.Popen(
        [sys.executable, "-m", "reconciler", "demo", "--processes", "50"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert started.stderr is not None
        assert b"waiting" in started.stderr.readline()
        started.send_signal(signal.SIGINT)
        out, err = started.communicate(timeout=60)
    finally:
        started.kill()

    assert (started.returncode, out) == (130, b"")
    assert b"Traceback" not in err
    assert list(scratch.iterdir()) == []


def test_a_demo_that_runs_out_of_time_is_1(bare: Place, scratch: Path, reconciler: Command) -> None:
    done = reconciler("demo", "--processes", "20", "--limit", "1", "--json")

    assert done.code == 1
    assert done.json["settledWithTrueStatus"] < 20
    assert done.said == ["reconciler: not every process was settled with its true status"]
