"""Paths of a store: where it may be created, and where it cannot."""

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from reconciler.store.errors import StoreError
from reconciler.store.open import prepare
from reconciler.store.revision import HEAD, SchemaState
from reconciler.store.sqlite.inspect import inspect_sqlite
from tests.store.conftest import PATIENCE

AS_NOBODY = """
import asyncio, os, sys
import aiosqlite, alembic.command, alembic.config, sqlalchemy.dialects.sqlite.aiosqlite
from reconciler.store.errors import StoreError
from reconciler.store.open import open_store, prepare

async def main(url):
    store = await open_store(url, is_daemon=False)
    await store.database.close()

if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for url in sys.argv[1:]:
    try:
        prepare(url, may_create=True, may_migrate=True)
        asyncio.run(main(url))
    except StoreError as error:
        print(error)
"""


def test_a_store_that_is_not_there_is_not_made_for_a_command_that_only_looks(
    tmp_path: Path,
) -> None:
    path = tmp_path / "deep" / "store.db"
    with pytest.raises(StoreError, match=f"there is no store at {path}; `reconciler init-db`"):
        prepare(f"sqlite:///{path}", may_create=False, may_migrate=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("is_there", [True, False], ids=["an empty file", "no file"])
def test_a_store_is_made_where_nothing_is(tmp_path: Path, *, is_there: bool) -> None:
    path = tmp_path / "deep" / "store.db"
    if is_there:
        path.parent.mkdir()
        path.touch()
    url = f"sqlite:///{path}"
    assert prepare(url, may_create=True, may_migrate=False) == [f"created {path}"]
    assert prepare(url, may_create=False, may_migrate=False) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file/store.db", "cannot create the store"),
        ("loop", "cannot open the store"),
        ("x" * 300, "cannot open the store"),
    ],
    ids=["below a file", "a link to itself", "a name too long"],
)
def test_an_impossible_path_is_refused_with_one_line(
    tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StoreError) as refused:
        prepare(f"sqlite:///{tmp_path}/{name}", may_create=True, may_migrate=True)
    assert reason in str(refused.value)
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that everybody may enter, unlike those of pytest."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_a_store_without_the_rights_to_it_is_refused_with_one_line(
    public: Path, empty_store: Path, children: Callable[..., "subprocess.Popen[str]"]
) -> None:
    cases: list[tuple[str, int, int | None, str]] = [
        ("closed", 0o000, 0o644, "Permission denied"),
        ("unreadable", 0o555, 0o000, "unable to open database file"),
        ("read-only", 0o555, 0o444, "attempt to write a readonly database"),
        ("no-place", 0o555, None, "unable to open database file"),
    ]
    paths = [public / name / "store.db" for name, *_ in cases]
    for path, (_, directory_mode, file_mode, _) in zip(paths, cases, strict=True):
        path.parent.mkdir()
        if file_mode is not None:
            shutil.copy(empty_store, path)
            path.chmod(file_mode)
        path.parent.chmod(directory_mode)

    said, errors = children(AS_NOBODY, *(f"sqlite:///{path}" for path in paths)).communicate(
        timeout=PATIENCE
    )

    for path in paths:
        path.parent.chmod(0o755)
    assert errors == ""
    assert said.splitlines() == [
        f"cannot {'migrate' if file_mode is None else 'open'} the store {path}: {reason}"
        for path, (_, _, file_mode, reason) in zip(paths, cases, strict=True)
    ]
    left = [sorted(entry.name for entry in path.parent.iterdir()) for path in paths]
    assert left == [["store.db"]] * 3 + [[]]


def test_a_store_behind_a_symbolic_link_is_seen_with_what_its_wal_holds(
    path: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(StoreError, match="newer"):
            prepare(f"sqlite:///{link}", may_create=True, may_migrate=True)


@pytest.mark.parametrize("name", ["what?.db", "a#b.db", "100%25.db", "with space.db", ":memory:"])
def test_a_store_has_exactly_the_name_that_it_was_given(tmp_path: Path, name: str) -> None:
    prepare(f"sqlite:///{tmp_path}/{name}", may_create=True, may_migrate=True)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert inspect_sqlite(tmp_path / name, HEAD) == (SchemaState.CURRENT, HEAD)


def test_a_sqlite_that_is_too_old_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.34.1")
    with pytest.raises(StoreError, match=r"SQLite 3\.34\.1 is too old; 3\.35 or newer is needed"):
        prepare(f"sqlite:///{path}", may_create=True, may_migrate=True)
