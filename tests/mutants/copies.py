"""Copies of the project, with one break each, and the commands that run in them."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.breaks import Edit

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 600.0
"""Seconds that one command may take."""

_COPIED = ("reconciler", "tests", "benchmarks", "config", "docs", "systemd")
_FILES = ("pyproject.toml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile")
_WHERE = (
    "import reconciler, tests.mutants.copies as t; print(reconciler.__file__); print(t.__file__)"
)


class BreakError(Exception):
    """A break, or a command that must catch it, is not what it says."""


@dataclass(frozen=True, slots=True)
class Result:
    """The end of one command."""

    exit_code: int
    output: str


class Copy:
    """One copy of the project. Programs in it import this copy and nothing of the original."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def apply(self, edits: Sequence[Edit]) -> None:
        """Apply ``edits``. Raises BreakError for text that is not there exactly once."""
        for edit in edits:
            path = self.folder / edit.file
            text = path.read_text()
            if (count := text.count(edit.old)) != 1:
                raise BreakError(f"{edit.file} has {count} times, not once: {edit.old.strip()!r}")
            changed = text.replace(edit.old, edit.new)
            compile(changed, edit.file, "exec")
            path.write_text(changed)

    def check_imports(self) -> None:
        """Raise BreakError where Python would import the original."""
        for line in self.run(["-c", _WHERE]).output.splitlines():
            if not Path(line).is_relative_to(self.folder):
                raise BreakError(f"the copy in {self.folder} is not used: {line}")

    def run(self, words: Sequence[str]) -> Result:
        """Run ``python *words`` in the copy. Raises BreakError if it does not end in time."""
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise BreakError(f"no end after {PATIENCE:.0f} s: {' '.join(words)}") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        return Result(process.returncode, output)

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RECONCILER_", "PYTEST_"))}
        return {**kept, "PYTHONPATH": str(self.folder)}


@contextmanager
def copied(edits: Sequence[Edit] = ()) -> Iterator[Copy]:
    """Yield a copy of the project with ``edits``, and remove it. Raises BreakError."""
    with tempfile.TemporaryDirectory(prefix="reconciler-mutant-") as name:
        copy = Copy(Path(name).resolve())
        for folder in _COPIED:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / folder, copy.folder / folder, ignore=ignored)
        for file in _FILES:
            shutil.copy(ROOT / file, copy.folder)
        copy.apply(edits)
        copy.check_imports()
        yield copy
