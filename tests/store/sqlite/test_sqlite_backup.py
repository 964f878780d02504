"""A backup of a live store is consistent, checked, and never partial under its name."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reconciler.ledger import Registration, Rules
from reconciler.store.errors import StoreError
from reconciler.store.open import Store, open_store
from reconciler.store.sqlite.backup import PAGES, Backup, back_up
from reconciler.store.sqlite.database import SqliteDatabase
from tests.clock import NOW

ROOT = Path(__file__).parents[3]


@pytest.fixture
def kind() -> str:
    """SQLite alone has backups."""
    return "sqlite"


def ignore(_done: int, _total: int) -> None:
    return


def backup_of(
    store: Store, target: Path, *, force: bool = False, on_step: Callable[[int, int], None] = ignore
) -> Backup:
    assert isinstance(store.database, SqliteDatabase)
    return back_up(store.database.path, target, force=force, on_step=on_step)


async def register(store: Store, rules: Rules, *process_ids: str) -> None:
    batch = [Registration(process_id, "d", reference="r" * 200) for process_id in process_ids]
    await store.registry.register(batch, rules, NOW, whole=True)


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def ids_in(path: Path) -> list[str]:
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
        return [row[0] for row in connection.execute("SELECT process_id FROM processes")]


async def test_a_copy_has_all_that_is_committed_also_what_is_only_in_the_wal(
    store: Store, rules: Rules, tmp_path: Path
) -> None:
    await register(store, rules, "p1", "p2")
    target = tmp_path / "copy.db"

    done = backup_of(store, target)

    assert ids_in(target) == ["p1", "p2"]
    assert (done.path, done.size) == (target, target.stat().st_size)
    assert (done.rows["processes"], done.rows["timeline"]) == (2, 2)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert names_in(tmp_path) == ["copy.db", "var"]


async def test_a_copy_is_a_store_that_opens(store: Store, rules: Rules, tmp_path: Path) -> None:
    await register(store, rules, "p1")
    backup_of(store, tmp_path / "copy.db")
    copied = await open_store(f"sqlite:///{tmp_path}/copy.db", is_daemon=True)
    try:
        await register(copied, rules, "p2")
        assert (await copied.views.counts()).states["waiting"] == 2
        async with copied.database.read() as connection:
            mode = await connection.exec_driver_sql("PRAGMA auto_vacuum")
            assert mode.scalar_one() == 2
    finally:
        await copied.database.close()


async def test_what_is_written_between_two_steps_is_neither_kept_waiting_nor_copied(
    store: Store, rules: Rules, tmp_path: Path
) -> None:
    for start in range(0, 6_000, 500):
        await register(store, rules, *(f"p{n:04}" for n in range(start, start + 500)))
    steps: list[tuple[int, int]] = []
    loop = asyncio.get_running_loop()

    def write_meanwhile(done: int, total: int) -> None:
        steps.append((done, total))
        writing = register(store, rules, f"meanwhile-{len(steps)}")
        asyncio.run_coroutine_threadsafe(writing, loop).result(timeout=60)

    done = await asyncio.to_thread(backup_of, store, tmp_path / "copy.db", on_step=write_meanwhile)

    total = steps[0][1]
    assert [each[0] for each in steps] == [*range(PAGES, total, PAGES), total], "never begun anew"
    assert len(steps) > 3
    assert done.rows["processes"] == len(ids_in(tmp_path / "copy.db")) == 6_000
    assert (await store.views.counts()).states["waiting"] == 6_000 + len(steps)


async def test_a_file_that_is_there_is_kept_unless_it_is_to_be_replaced(
    store: Store, rules: Rules, tmp_path: Path
) -> None:
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with pytest.raises(StoreError, match=r"copy\.db exists; --force replaces it"):
        backup_of(store, target)
    assert target.read_text() == "precious"

    await register(store, rules, "p1")
    backup_of(store, target, force=True)
    assert ids_in(target) == ["p1"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


async def test_a_file_that_comes_while_the_copy_is_made_is_kept(
    store: Store, tmp_path: Path
) -> None:
    target = tmp_path / "copy.db"

    def write(_done: int, _total: int) -> None:
        target.write_text("precious")

    with pytest.raises(StoreError, match="exists"):
        backup_of(store, target, on_step=write)
    assert target.read_text() == "precious"
    assert names_in(tmp_path) == ["copy.db", "var"]


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", ".lock"])
async def test_the_files_of_the_store_itself_are_never_written(
    store: Store, path: Path, tmp_path: Path, suffix: str
) -> None:
    own = path.with_name(path.name + suffix)
    link = tmp_path / "link"
    link.symlink_to(own)
    for target in (own, link, path.parent / ".." / "var" / own.name):
        with pytest.raises(StoreError, match="belongs to the store itself"):
            backup_of(store, target, force=True)


async def test_a_copy_that_is_broken_off_leaves_the_old_one_and_nothing_else(
    store: Store, rules: Rules, tmp_path: Path
) -> None:
    target = tmp_path / "copy.db"
    backup_of(store, target)
    before = target.read_bytes()
    await register(store, rules, "p1")

    def break_off(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup_of(store, target, force=True, on_step=break_off)
    assert target.read_bytes() == before
    assert names_in(tmp_path) == ["copy.db", "var"]


async def test_a_place_that_cannot_be_written_is_named(store: Store, tmp_path: Path) -> None:
    for target, why in (
        (tmp_path / "nowhere" / "copy.db", "No such file or directory"),
        (tmp_path, "is a directory"),
    ):
        with pytest.raises(StoreError, match=why):
            backup_of(store, target)


async def test_a_copy_of_a_damaged_store_is_refused_and_the_good_one_kept(
    store: Store, rules: Rules, path: Path, tmp_path: Path, look: Callable[..., list[Any]]
) -> None:
    target = tmp_path / "copy.db"
    await register(store, rules, "p1")
    backup_of(store, target)
    before = target.read_bytes()
    assert isinstance(store.database, SqliteDatabase)
    assert await store.database.empty_wal()
    [(root,)] = look("SELECT rootpage FROM sqlite_schema WHERE name = 'ix_timeline_process'")
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096 + 4000)
        file.write(b"\xff" * 96)
    with pytest.raises(StoreError, match="the copy is damaged, and so may the store be"):
        backup_of(store, target, force=True)
    assert target.read_bytes() == before


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare for a small disk")
async def test_a_full_disk_leaves_nothing_behind(
    store: Store, rules: Rules, tmp_path: Path
) -> None:
    for start in range(0, 2_000, 500):
        await register(store, rules, *(f"p{n:04}" for n in range(start, start + 500)))
    small = tmp_path / "small"
    small.mkdir()
    assert isinstance(store.database, SqliteDatabase)
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from reconciler.store.sqlite.backup import back_up\n"
        "from reconciler.store.errors import StoreError\n"
        "try:\n"
        "    back_up(Path(sys.argv[1]), Path(sys.argv[2]) / 'copy.db', force=False,"
        " on_step=lambda *_: None)\n"
        "except StoreError as error:\n"
        "    print(error, os.listdir(sys.argv[2]))\n"
    )
    script = tmp_path / "program.py"
    script.write_text(program)
    shell = (
        f'mount -t tmpfs -o size=256k none "{small}" && '
        f'exec "{sys.executable}" "{script}" "{store.database.path}" "{small}"'
    )
    child = await asyncio.create_subprocess_exec(
        *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", shell),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    out, err = await child.communicate()
    if child.returncode != 0 and not out:
        pytest.skip(f"no small disk here: {err.decode().strip()[-100:]}")
    assert "cannot write " in out.decode()
    assert out.decode().strip().endswith("[]")
