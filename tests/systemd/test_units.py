"""The unit files, as systemd's own tools see them. None of it needs a running systemd."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.systemd.conftest import UNITS

ANALYZE = shutil.which("systemd-analyze")
pytestmark = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze (of systemd) is absent")

PROGRAM = "/opt/reconciler/bin/reconciler"
THRESHOLD = 12
"""Ten times the exposure that is allowed."""


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run(
        [ANALYZE, *words], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(params=["a dynamic user", "a fixed user"])
def units(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the units, with a program that is there."""
    for unit in ("reconciler.service", "reconciler.socket"):
        text = (UNITS / unit).read_text()
        (tmp_path / unit).write_text(text.replace(PROGRAM, "/bin/true"))
    if request.param == "a fixed user":
        # ``security`` of one file does not look for drop-ins, so it is joined here.
        with (tmp_path / "reconciler.service").open("a") as file:
            file.write((UNITS / "fixed-user.conf").read_text())
    return tmp_path


def test_the_program_is_the_one_of_the_installation() -> None:
    text = (UNITS / "reconciler.service").read_text()
    assert f"ExecStart={PROGRAM} run --config /etc/reconciler/reconciler.toml\n" in text


def test_verify_has_nothing_to_say(units: Path) -> None:
    names = ("reconciler.service", "reconciler.socket")
    done = analyze("verify", *(str(units / name) for name in names))
    assert done.stderr == done.stdout == ""
    assert done.returncode == 0


def test_verify_would_say_what_is_wrong(units: Path) -> None:
    """It exits 0 on an unknown key, so an empty stderr is what counts."""
    unit = units / "reconciler.service"
    unit.write_text(unit.read_text().replace("StartLimitIntervalSec", "StartLimitIntervalSecs"))
    assert "StartLimitIntervalSecs" in analyze("verify", str(unit)).stderr


def test_the_service_is_hardened(units: Path) -> None:
    words = ["security", "--offline=true", "--no-pager", f"--threshold={THRESHOLD}"]
    done = analyze(*words, str(units / "reconciler.service"))
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
