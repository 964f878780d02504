"""A SQLite file admits one daemon, for each checkpoints and sweeps as if alone."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.store.errors import StoreError
from reconciler.store.open import daemon_lock
from reconciler.store.sqlite.lock import DaemonLock

HOLD = """
import sys
from pathlib import Path
from reconciler.store.sqlite.lock import DaemonLock
DaemonLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_daemon_is_refused_with_one_line_that_names_the_first(path: Path) -> None:
    first, second = DaemonLock(path), DaemonLock(path)
    first.acquire()
    with pytest.raises(StoreError) as refused:
        second.acquire()
    first.release()
    text = str(refused.value)
    assert f"process {os.getpid()})" in text
    assert str(path) in text
    assert "\n" not in text


def test_a_lock_that_was_let_go_can_be_taken_again(path: Path) -> None:
    lock = DaemonLock(path)
    lock.acquire()
    lock.release()
    lock.release()
    other = DaemonLock(path)
    other.acquire()
    other.release()


def test_the_lock_of_a_killed_daemon_is_free(
    path: Path, children: Callable[..., "subprocess.Popen[str]"]
) -> None:
    child = children(HOLD, path)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    lock = DaemonLock(path)
    with pytest.raises(StoreError, match=f"process {child.pid}\\)"):
        lock.acquire()
    child.send_signal(signal.SIGKILL)
    child.wait()
    lock.acquire()
    assert path.with_name("store.db.lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_lock_file_that_cannot_be_made_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"cannot lock .*store\.db\.lock: No such file or directory"
    ):
        DaemonLock(tmp_path / "missing" / "store.db").acquire()


def test_a_symbolic_link_to_the_store_leads_to_the_same_lock(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    first, second = daemon_lock(f"sqlite:///{path}"), daemon_lock(f"sqlite:///{link}")
    first.acquire()
    with pytest.raises(StoreError, match="another daemon"):
        second.acquire()
    first.release()
