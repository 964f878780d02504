"""The table of faults lists exactly the tests that are marked as its cells."""

import subprocess
import sys
from pathlib import Path


def test_the_table_of_faults_has_exactly_the_cells_of_the_marked_tests(root: Path) -> None:
    looked = subprocess.run(
        [sys.executable, "-m", "tests.faults.table", "--check"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert looked.returncode == 0, looked.stdout + looked.stderr
