"""The Makefile says in one line what it needs."""

import subprocess
from pathlib import Path

from tests.docs.conftest import ROOT


def test_a_python_that_is_too_old_is_told_in_one_line(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\n[ $1 = -V ] && echo Python 3.10.12 || exit 1\n")
    old.chmod(0o755)
    made = subprocess.run(
        ["make", "-s", "-C", ROOT, "demo", f"PYTHON={old}", f"VENV={tmp_path}/venv"],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in made.stderr.splitlines() if not line.startswith("make")]
    assert made.returncode != 0
    assert said == [
        f"{old} is Python 3.10.12. Python 3.11 or newer is needed; name one, such as: "
        "make demo PYTHON=python3.12"
    ]
    assert not (tmp_path / "venv").exists()
