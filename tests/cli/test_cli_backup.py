"""``backup``: what it says, what it remembers, and how it ends."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from reconciler.store.revision import HEAD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command, Place, Terminal


def ids_in(path: Path) -> list[str]:
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
        return [row[0] for row in connection.execute("SELECT process_id FROM processes")]


def test_a_backup_is_written_and_it_is_remembered_who_did(
    place: Place, reconciler: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    reconciler("track", "d1", "p1")

    done = reconciler("backup", "copy.db")

    copy = place.path / "copy.db"
    size = copy.stat().st_size
    assert (done.code, done.out) == (0, "")
    assert done.said == [f"reconciler: {copy}: 1 processes, {size} bytes, checked"]
    assert ids_in(copy) == ["p1"]
    [line] = done.logged
    assert (line["event"], line["action"], line["by"]) == ("operator_action", "backup", "ada")
    assert place.actions()[1:] == [("backup", "ada", None, {})]


def test_a_program_gets_one_json(place: Place, reconciler: Command) -> None:
    reconciler("track", "d1", "p1")

    done = reconciler("backup", str(place.path / "copy.db"), "--json")

    copy = place.path / "copy.db"
    counts = {"processes": 1, "callbacks": 0, "timeline": 1, "deliveries": 0}
    size = copy.stat().st_size
    assert done.json == {"path": str(copy), "bytes": size, "revision": HEAD, **counts}


def test_an_existing_file_is_1_and_kept_unless_forced(place: Place, reconciler: Command) -> None:
    copy = place.path / "copy.db"
    copy.write_text("precious")

    refused = reconciler("backup", "copy.db")
    assert (refused.code, refused.out, refused.logged) == (1, "", [])
    assert refused.said == [f"reconciler: {copy} exists; --force replaces it"]
    assert copy.read_text() == "precious"
    assert place.actions() == []

    assert reconciler("backup", "copy.db", "--force").code == 0
    assert ids_in(copy) == []


def test_the_store_itself_is_no_target(place: Place, reconciler: Command) -> None:
    reconciler("track", "d1", "p1")
    refused = reconciler("backup", "ledger.db", "--force")
    assert refused.code == 1
    assert "belongs to the store itself" in refused.said[0]
    assert reconciler("show", "p1").code == 0


def test_without_a_store_nothing_is_written(bare: Place, reconciler: Command) -> None:
    refused = reconciler("backup", "copy.db")
    assert (refused.code, refused.out) == (1, "")
    assert "there is no store at" in refused.said[0]
    assert not (bare.path / "copy.db").exists()


def test_a_person_sees_how_far_it_is(place: Place, terminal: Terminal) -> None:
    code, shown = terminal("backup", "copy.db")
    assert code == 0
    assert "copy.db" in shown
    assert "0 processes" in shown


def test_ctrl_c_leaves_nothing_behind(place: Place) -> None:
    with closing(sqlite3.connect(place.store)) as connection, connection:
        connection.execute("CREATE TABLE ballast (bytes BLOB)")
        connection.execute("INSERT INTO ballast VALUES (zeroblob(200000000))")
    started = subprocess.Popen(
        [sys.executable, "-m", "reconciler", "backup", "copy.db"],
        stderr=subprocess.DEVNULL,
        env=os.environ,
    )
    try:
        while not list(place.path.glob(".copy.db.*.part")):
            assert started.poll() is None
        started.send_signal(signal.SIGINT)
        assert started.wait(60) != 0
    finally:
        started.kill()
        started.wait()
    assert not (place.path / "copy.db").exists()
    assert list(place.path.glob(".copy.db.*")) == []
