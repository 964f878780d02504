"""The disk that forgets does forget; else the power cuts would show nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.torture.disk import ForgetfulDisk, SyncDeath

PRELUDE = """
import os
def write(name, data, flags=os.O_WRONLY | os.O_CREAT | os.O_APPEND):
    fd = os.open(name, flags, 0o600)
    os.write(fd, data)
    return fd
TRUNCATE = os.O_WRONLY | os.O_TRUNC
def sync(name="."):
    os.fsync(os.open(name, os.O_RDONLY))
"""


@pytest.fixture
def disk(tmp_path: Path, library: Path) -> ForgetfulDisk:
    return ForgetfulDisk(tmp_path, library)


def run(disk: ForgetfulDisk, code: str, death: SyncDeath | None = None) -> int:
    """Run ``code`` as a process of its own in the directory of the disk."""
    told = {**os.environ, **disk.environ(death)}
    return subprocess.run(
        [sys.executable, "-S", "-c", PRELUDE + code], cwd=disk.live, env=told, check=False
    ).returncode


def left(disk: ForgetfulDisk) -> dict[str, bytes]:
    """Cut the power and return what is left."""
    disk.cut_power()
    return {
        str(path.relative_to(disk.live)): path.read_bytes()
        for path in sorted(disk.live.rglob("*"))
        if path.is_file()
    }


CASES: list[tuple[str, dict[str, bytes]]] = [
    ("write('a', b'1'); sync()", {"a": b""}),
    ("os.fsync(write('a', b'1'))", {}),
    ("os.fsync(write('a', b'1')); sync()", {"a": b"1"}),
    ("fd = write('a', b'1'); sync(); os.fdatasync(fd); os.write(fd, b'2')", {"a": b"1"}),
    ("os.fsync(write('a', b'1')); sync(); os.rename('a', 'b')", {"a": b"1"}),
    ("os.fsync(write('a', b'1')); sync(); os.rename('a', 'b'); sync()", {"b": b"1"}),
    ("os.fsync(write('a', b'1')); sync(); os.unlink('a')", {"a": b"1"}),
    ("os.fsync(write('a', b'1')); sync(); os.unlink('a'); sync()", {}),
    ("fd = write('a', b'12'); os.fsync(fd); sync(); os.ftruncate(fd, 1)", {"a": b"12"}),
    ("fd = write('a', b'12'); sync(); os.ftruncate(fd, 1); os.fsync(fd)", {"a": b"1"}),
    ("os.fsync(write('a', b'12')); sync(); write('a', b'3', TRUNCATE)", {"a": b"12"}),
    ("os.fsync(write('a', b'12')); sync(); os.fsync(write('a', b'3', TRUNCATE))", {"a": b"3"}),
    ("os.mkdir('d'); os.fsync(write('d/a', b'1')); sync('d')", {}),
    ("os.mkdir('d'); os.fsync(write('d/a', b'1')); sync('d'); sync()", {"d/a": b"1"}),
    ("fd = write('a-shm', b'1'); os.fsync(fd); sync()", {}),
]


def test_only_what_was_fsynced_is_left(disk: ForgetfulDisk) -> None:
    """Each case has a directory of its own, for a process costs more than all of them."""
    places = [f"case-{number}" for number in range(len(CASES))]
    steps = [
        f"os.mkdir('{place}'); sync(); os.chdir('{place}'); {code}; os.chdir('..')"
        for place, (code, _) in zip(places, CASES, strict=True)
    ]
    assert run(disk, "\n".join(steps)) == 0
    found = left(disk)
    for place, (code, expected) in zip(places, CASES, strict=True):
        of_case = {
            name.removeprefix(f"{place}/"): data
            for name, data in found.items()
            if name.startswith(f"{place}/")
        }
        assert of_case == expected, code


def test_a_later_process_makes_durable_what_an_earlier_one_wrote(disk: ForgetfulDisk) -> None:
    assert run(disk, "write('a', b'1')") == 0
    assert run(disk, "sync('a'); sync()") == 0
    assert left(disk) == {"a": b"1"}
    assert run(disk, "write('a', b'2')") == 0
    assert left(disk) == {"a": b"1"}


@pytest.mark.parametrize(("stage", "expected"), [("before", {"a": b"1"}), ("after", {"a": b"12"})])
def test_a_process_dies_at_the_fsync_that_was_chosen(
    disk: ForgetfulDisk, stage: Any, expected: dict[str, bytes]
) -> None:
    code = "fd = write('a', b'1'); os.fsync(fd); sync(); os.write(fd, b'2'); os.fsync(fd)"
    assert run(disk, code, SyncDeath("a", 2, stage)) == -signal.SIGKILL
    assert left(disk) == expected
