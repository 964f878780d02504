"""Makes certificates with the openssl command, for the tests that need bad ones too."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

NEW = "req -config openssl.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
"""The begin of a command that makes a key, and a request or a certificate of its own."""


def run_openssl(folder: Path, config: str, commands: Sequence[str]) -> None:
    """Run ``commands`` of openssl in ``folder``, which has ``config`` as openssl.cnf.

    Skips the test where openssl is missing.
    """
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    (folder / "openssl.cnf").write_text(config)
    for command in commands:
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
