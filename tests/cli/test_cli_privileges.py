"""Root works as the owner of the store; a stranger is told in one line who may."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from pwd import getpwuid
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from reconciler.cli.privileges import as_owner, as_user, kept
from reconciler.cli.session import opened_store
from tests.cli.conftest import LIMIT
from tests.read_only import can_mount, with_read_only

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Command, Place

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

OWNER = 54321
"""Without a name, as a dynamic user is while its unit does not run."""

STRANGER = 54322

AS_STRANGER = """
import contextlib, os, sys
from reconciler import cli
kept = os.dup(1), os.dup(2)
for fd in (1, 2):
    os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
with contextlib.suppress(SystemExit):  # imports all that a stranger may not be able to read
    cli.main(["status"])
os.dup2(kept[0], 1), os.dup2(kept[1], 2)
os.setgroups([]), os.setgid({uid}), os.setuid({uid})
for command in sys.argv[1:]:
    try:
        cli.main(command.split())
    except SystemExit as end:
        print(end.code)
"""

COMMANDS = [
    ("track", "d-1", "p-1", "--json"),
    ("import", "processes.csv"),
    ("list",),
    ("status", "--json"),
    ("recheck", "p-1", "--fetch"),
    ("deliveries",),
    ("redeliver", "--dead"),
    ("export",),
    ("forget", "p-1"),
]


def give(path: Path, uid: int) -> None:
    for each in (path, *path.rglob("*")):
        os.chown(each, uid, uid)


def owners(path: Path) -> dict[str, int]:
    return {each.name: each.stat().st_uid for each in path.rglob("*") if each.name != "by-root"}


@pytest.fixture
def state(bare: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory as systemd makes it: the owner's alone, below one that is root's alone."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        state = Path(directory) / "private" / "state"
        state.mkdir(parents=True)
        state.parent.chmod(0o700)
        state.chmod(0o700)
        give(state, OWNER)
        config = Path(directory) / "reconciler.toml"
        config.write_text(bare.config.read_text().replace(f"{bare.path}/", f"{state}/"))
        monkeypatch.setenv("RECONCILER_CONFIG", str(config))
        (bare.path / "processes.csv").write_text("dossierId,processId\nd-2,p-2\n")
        (bare.path / "processes.csv").chmod(0o600)  # root's; it is read all the same
        yield state


def test_what_root_does_leaves_files_of_the_owner_only(reconciler: Command, state: Path) -> None:
    made = reconciler("init-db")
    assert (made.code, made.said) == (0, [f"reconciler: created {state}/ledger.db"])
    for words in COMMANDS:
        done = reconciler(*words)
        assert (done.code, words) == (0, words), done.err
        assert set(owners(state).values()) == {OWNER}


def test_a_daemon_that_root_starts_works_as_the_owner_too(state: Path) -> None:
    daemon = subprocess.Popen(
        [sys.executable, "-m", "reconciler", "run"],
        stdout=subprocess.PIPE,
        env={**os.environ, "RECONCILER_LISTENER__PORT": "0"},
    )
    assert daemon.stdout is not None
    try:
        for line in daemon.stdout:
            if b'"event":"ready"' in line:
                break
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        made = owners(state)
    finally:
        daemon.terminate()
        assert daemon.wait(LIMIT) == 0
        daemon.stdout.close()
    assert f"Uid:\t0\t{OWNER}\t" in status
    assert {"ledger.db", "ledger.db-wal", "ledger.db.lock"} <= made.keys()
    assert set(made.values()) == {OWNER}
    assert set(owners(state).values()) == {OWNER}


@pytest.mark.skipif(not can_mount(), reason="needs mount namespaces")
def test_on_a_read_only_mount_the_owner_can_look_and_is_told_why_nothing_can_change(
    reconciler: Command, state: Path
) -> None:
    assert reconciler("init-db").code == 0
    assert reconciler("track", "d-1", "p-1").code == 0
    state.parent.chmod(0o755)
    commands = ("list", "show p-1", "export --ended-since 2020-01-01T00:00:00Z", "track d-1 p-2")
    program = [sys.executable, "-c", AS_STRANGER.format(uid=OWNER)]

    done = subprocess.run(
        [*with_read_only(state), *program, *commands],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )

    listed, shown, *_ = told = re.split(r"(?m)^\d$", done.stdout)[:-1]
    assert "p-1" in listed
    assert "p-1" in shown
    codes = re.findall(r"(?m)^\d$", done.stdout)
    assert (codes, len(told)) == (["0", "0", "0", "1"], 4)
    assert done.stderr.count("\n") == 1
    assert str(state) in done.stderr


def test_it_is_root_that_is_remembered_or_who_has_called_sudo(
    reconciler: Command, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reconciler("init-db").code == 0
    assert reconciler("track", "d-1", "p-1").logged[-1]["by"] == "root"
    monkeypatch.setenv("SUDO_USER", "ada")
    assert reconciler("track", "d-1", "p-2").logged[-1]["by"] == "ada"
    assert set(owners(state).values()) == {OWNER}


def test_outside_of_the_block_the_user_is_root_again(state: Path) -> None:
    before = (
        os.geteuid(),
        os.getegid(),
        os.getgroups(),
        Path("/proc/thread-self/status").read_text(),
    )
    for _ in range(2):
        with pytest.raises(KeyError), as_owner(state / "ledger.db"):  # whatever happens inside
            assert (os.geteuid(), os.getegid(), os.getgroups()) == (OWNER, OWNER, [OWNER])
            (state / "by-owner").touch()
            with pytest.raises(PermissionError):
                (state.parent / "not-here").touch()
            raise KeyError
        now = os.geteuid(), os.getegid(), os.getgroups()
        assert now == before[:3]
    assert _capabilities() in before[3]
    (state / "by-root").touch()
    assert (state / "by-root").stat().st_uid == 0
    assert (state / "by-owner").stat().st_uid == OWNER


WITHIN = """
import os, sys
from pathlib import Path
from reconciler.cli.privileges import as_owner
with as_owner(Path(sys.argv[1])):
    print(os.geteuid(), Path(sys.argv[2]).read_text())
    Path(sys.argv[1], "made").touch()
"""


@pytest.mark.skipif(shutil.which("capsh") is None, reason="capsh (Debian's libcap2-bin) is absent")
def test_the_root_of_a_container_can_still_read_what_it_could_at_the_start(state: Path) -> None:
    secret = state.parent / "secret"
    secret.write_text("whole")
    secret.chmod(0o600)
    within = [sys.executable, "-c", WITHIN, str(state), str(secret)]
    drop = ["capsh", "--drop=cap_dac_read_search", "--", "-c", 'exec "$@"', "sh"]

    done = subprocess.run(
        [*drop, *within], check=False, capture_output=True, text=True, timeout=LIMIT
    )

    assert (done.stdout, done.stderr) == (f"{OWNER} whole\n", "")
    assert owners(state) == {"made": OWNER}


def test_of_its_rights_root_keeps_the_least_that_reads_everything() -> None:
    override, read, bind, admin = 1 << 1, 1 << 2, 1 << 10, 1 << 21
    assert kept(override | read | bind | admin) == read | bind
    assert kept(override | bind | admin) == override | bind
    assert kept(admin) == 0


def test_in_the_middle_of_a_session_the_user_may_write_files_of_its_own(
    reconciler: Command, state: Path
) -> None:
    assert reconciler("init-db").code == 0
    copy = state.parent / "copy"  # where only root may write

    with opened_store(None) as session:
        with as_user():
            copy.touch()
            with closing(sqlite3.connect(state / "ledger.db")) as store:
                assert store.execute("SELECT count(*) FROM timeline").fetchone()
        with pytest.raises(PermissionError):
            (state.parent / "not-here").touch()
        session.run(session.actor.record_action("backup"))
        assert session.run(session.store.views.counts()).states["waiting"] == 0

    assert copy.stat().st_uid == 0
    assert set(owners(state).values()) == {OWNER}
    with as_user():
        assert os.geteuid() == 0


def test_a_backup_of_roots_is_written_where_only_root_may(reconciler: Command, state: Path) -> None:
    copy = state.parent / "backup.db"
    assert reconciler("init-db").code == 0

    assert reconciler("backup", str(copy)).code == 0

    assert (copy.stat().st_uid, copy.stat().st_mode & 0o777) == (0, 0o600)
    assert set(owners(state).values()) == {OWNER}


def test_what_belongs_to_root_stays_with_root(bare: Place) -> None:
    with as_owner(bare.store):
        assert os.geteuid() == 0
    with as_owner(None):
        assert os.geteuid() == 0


def _stranger(*commands: str) -> tuple[str, list[str]]:
    """Run commands one after the other; return the exit codes and what was said."""
    done = subprocess.run(
        [sys.executable, "-c", AS_STRANGER.format(uid=STRANGER), *commands],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    return done.stdout, done.stderr.splitlines()


@pytest.fixture
def seen(reconciler: Command, state: Path) -> Path:
    """The same with a store, and with all above it open to everybody, as /var/lib is."""
    assert reconciler("init-db").code == 0
    state.parent.chmod(0o755)
    return state


def test_a_stranger_is_told_in_one_line_who_may(seen: Path) -> None:
    before = sorted(seen.iterdir())
    commands = ["status", "track d-1 p-1", "init-db"]
    path = seen / "ledger.db"
    line = (
        f"reconciler: no permission: {path} belongs to the user {OWNER}; "
        "run this command as root (sudo)"
    )
    assert _stranger(*commands) == ("1\n1\n1\n", [line] * 3)

    seen.chmod(0o755)
    path.chmod(0o644)
    assert _stranger(*commands) == ("1\n1\n1\n", [line] * 3)
    assert sorted(seen.iterdir()) == before

    give(seen, 1)  # a user with a name on every system
    _, lines = _stranger("status")
    assert lines[0].endswith(f"as root (sudo) or as its owner (sudo -u {getpwuid(1).pw_name})")


def test_the_owner_is_told_which_right_is_missing_and_not_to_become_the_owner(seen: Path) -> None:
    give(seen, STRANGER)
    path = seen / "ledger.db"
    path.chmod(0o400)
    _, [unwritable] = _stranger("status")
    path.chmod(0o600)
    seen.chmod(0o500)
    _, [closed] = _stranger("track d-1 p-1")

    no = "reconciler: no permission:"
    assert unwritable == f"{no} {path} may not be written, even by you; chmod u+w allows it"
    assert closed == f"{no} {seen} may not be written, even by you; chmod u+w allows it"


def test_behind_a_directory_of_root_only_root_may(seen: Path) -> None:
    seen.parent.chmod(0o700)
    code, lines = _stranger("status")
    assert (code, len(lines)) == ("1\n", 1)
    assert lines[0].endswith("belongs to root; run this command as root (sudo)")


def test_who_may_write_there_by_group_needs_no_root(seen: Path) -> None:
    for each in (seen, *seen.iterdir()):
        os.chown(each, OWNER, STRANGER)
    seen.chmod(0o2770)
    (seen / "ledger.db").chmod(0o660)
    told, lines = _stranger("status --json")
    assert lines == []
    assert told.startswith("{")


def _capabilities() -> str:
    status = Path("/proc/thread-self/status").read_text()
    return next(line for line in status.splitlines() if line.startswith("CapEff:"))
