"""Which commands make a store, and what is said of one that cannot be used."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from reconciler.store.open import daemon_lock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command, Place

BESIDE_THE_DAEMON = [
    ("list",),
    ("show", "p1"),
    ("status",),
    ("track", "d1", "p1"),
    ("import", "-"),
    ("recheck", "p1"),
    ("recheck", "--all-overdue"),
    ("forget", "p1"),
]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("arguments", BESIDE_THE_DAEMON)
def test_a_store_that_is_not_there_is_refused_and_not_created(
    bare: Place, reconciler: Command, arguments: tuple[str, ...]
) -> None:
    refused = reconciler(*arguments)

    assert (refused.code, refused.out) == (1, "")
    assert refused.said == [
        f"reconciler: there is no store at {bare.store}; `reconciler init-db` creates one"
    ]
    assert sorted(path.name for path in bare.path.iterdir()) == ["reconciler.toml"]


def test_init_db_creates_the_store_and_its_directory_and_remembers_who_did_it(
    bare: Place, reconciler: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    text = bare.config.read_text()
    bare.config.write_text(text.replace("ledger.db", "var/lib/ledger.db"))

    made = reconciler("init-db")

    assert (made.code, made.out) == (0, "")
    assert made.said == [f"reconciler: created {bare.path}/var/lib/ledger.db"]
    [line] = made.logged
    assert (line["event"], line["action"], line["by"]) == ("operator_action", "init-db", "ada")
    assert reconciler("list", "--json").json == {"items": [], "nextCursor": None}


def test_init_db_again_changes_nothing(place: Place, reconciler: Command) -> None:
    before = digest(place.store)

    again = reconciler("init-db")

    assert (again.code, again.said) == (0, ["reconciler: the store is up to date"])
    assert again.logged == []
    assert digest(place.store) == before
    assert place.timeline("") == []


def test_init_db_beside_a_daemon_is_harmless_when_there_is_nothing_to_do(
    place: Place, reconciler: Command
) -> None:
    lock = daemon_lock(f"sqlite:///{place.store}")
    lock.acquire()
    try:
        assert reconciler("init-db").code == 0
    finally:
        lock.release()


def test_run_without_migrate_on_start_creates_no_store(bare: Place, reconciler: Command) -> None:
    bare.config.write_text(bare.config.read_text() + "migrate_on_start = false\n")

    refused = reconciler("run")

    assert refused.code == 1
    assert refused.said == [
        f"reconciler: there is no store at {bare.store}; `reconciler init-db` creates one"
    ]
    assert not bare.store.exists()


@pytest.mark.parametrize(
    "arguments",
    [("list",), ("show", "p1"), ("status",), ("deliveries",), ("export",), ("check-db",)],
)
def test_a_command_that_only_reads_opens_no_writer(
    place: Place, reconciler: Command, arguments: tuple[str, ...]
) -> None:
    with closing(sqlite3.connect(place.store)) as connection:  # a writer would change it back
        connection.execute("PRAGMA journal_mode=DELETE")
    before = digest(place.store)

    done = reconciler(*arguments)

    assert done.code == (3 if arguments[0] == "show" else 0)
    assert digest(place.store) == before
    assert place.query("PRAGMA journal_mode") == [("delete",)]
    assert reconciler("track", "d1", "p1").code == 0
    assert place.query("PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize("arguments", [*BESIDE_THE_DAEMON, ("init-db",), ("run",)])
@pytest.mark.parametrize("kind", ["corrupt", "newer", "foreign", "directory", "text"])
def test_a_store_that_is_not_ours_to_touch_is_one_line_and_stays_as_it_is(
    place: Place, reconciler: Command, kind: str, arguments: tuple[str, ...]
) -> None:
    spoil(place.store, kind)
    before = digest(place.store) if place.store.is_file() else ""

    refused = reconciler(*arguments)

    assert (refused.code, len(refused.said)) == (1, 1)
    assert str(place.store) in refused.said[0]
    assert arguments == ("run",) or refused.out == ""
    if before:
        assert digest(place.store) == before


def spoil(store: Path, kind: str) -> None:
    match kind:
        case "corrupt":
            content = bytearray(store.read_bytes())
            content[100:3000] = b"\xff" * 2900
            store.write_bytes(content)
        case "newer":
            with closing(sqlite3.connect(store)) as connection, connection:
                connection.execute("UPDATE alembic_version SET version_num = '9999'")
        case "foreign":
            store.unlink()
            with closing(sqlite3.connect(store)) as connection, connection:
                connection.execute("CREATE TABLE notes (text)")
        case "directory":
            store.unlink()
            store.mkdir()
        case "text":
            store.write_text("dear diary\n" * 1000)


def test_a_path_that_no_file_can_have_is_one_line(bare: Place, reconciler: Command) -> None:
    bare.config.write_text(bare.config.read_text().replace("ledger.db", "x" * 300))

    for arguments in (("list",), ("init-db",), ("run",)):
        refused = reconciler(*arguments)
        assert (refused.code, len(refused.said)) == (1, 1)


def test_a_postgresql_that_cannot_be_reached_is_one_line_without_user_and_password(
    bare: Place, reconciler: Command
) -> None:
    url = "postgresql://canary:canary@127.0.0.1:1/ledger"
    bare.config.write_text(f'[store]\nurl = "{url}"\n')

    for arguments in (("list",), ("init-db",), ("track", "d1", "p1")):
        refused = reconciler(*arguments)
        assert (refused.code, refused.out, len(refused.said)) == (1, "", 1)
        assert refused.said[0].endswith(
            "cannot reach PostgreSQL at 127.0.0.1:1/ledger: connection refused"
        )
        assert "canary" not in refused.err


def test_a_store_that_is_locked_for_long_is_one_line(place: Place, reconciler: Command) -> None:
    with closing(sqlite3.connect(place.store)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = reconciler("track", "d1", "p1")

    assert (refused.code, refused.out, len(refused.said)) == (1, "", 1)
    assert refused.said[0].endswith("database is locked")


def test_a_relative_store_that_is_not_there_is_told_with_the_directory_it_counts_from(
    bare: Place, reconciler: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_STORE__URL", "sqlite:///var/none.db")

    done = reconciler("list")

    assert done.code == 1
    assert done.said == [
        f"reconciler: there is no store at {bare.path}/var/none.db; `reconciler init-db` creates "
        f"one; store.url is relative, and counts from {bare.path}"
    ]
