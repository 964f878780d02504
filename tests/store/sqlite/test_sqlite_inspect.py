"""Any file but a healthy store of ours is refused with one line, and stays as it was."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.store.errors import StoreError
from reconciler.store.open import daemon_lock, prepare
from reconciler.store.revision import HEAD, SchemaState
from reconciler.store.sqlite.inspect import inspect_sqlite

BUSY = """
import asyncio, sys
from reconciler.store.open import open_store

async def main():
    number = 0
    while True:  # opens, writes, checkpoints by closing, and opens again
        store = await open_store(sys.argv[1], is_daemon=False)
        for _ in range(number % 5):
            await store.inbox.prove()
        await store.database.close()
        number += 1
        print(number, flush=True)

asyncio.run(main())
"""


def files_in(directory: Path) -> dict[str, bytes | None]:
    """Return every byte in ``directory``."""
    return {
        entry.name: entry.read_bytes() if entry.is_file() else None for entry in directory.iterdir()
    }


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def fill(path: Path) -> None:
    """Make the store some dozen pages long."""
    entry = "INSERT INTO timeline (process_id, at, event, fields) SELECT 'p' || i, i, 'e', '{}'"
    numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
    execute(path, f"{numbers} {entry} FROM n")


def text(path: Path) -> None:
    path.write_text("# reconciler.toml: this is not a database at all\n" * 40)


def short_text(path: Path) -> None:
    path.write_text("hello")


def truncated(path: Path) -> None:
    fill(path)
    os.truncate(path, path.stat().st_size // 2)


def garbage_in_the_middle(path: Path) -> None:
    fill(path)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 4096)


def garbage_in_the_schema(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xa5" * 3996)


def another_program(path: Path) -> None:
    path.unlink()
    execute(path, "CREATE TABLE notes (text)", "INSERT INTO notes VALUES ('mine')")


def another_program_that_uses_alembic(path: Path) -> None:
    another_program(path)
    execute(
        path,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
        "INSERT INTO alembic_version VALUES ('00a1b2c3d4e5')",
    )


def another_program_that_has_not_migrated_yet(path: Path) -> None:
    another_program(path)
    execute(path, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")


def newer_schema(path: Path) -> None:
    execute(path, "UPDATE alembic_version SET version_num = '9999'")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


SPOILED: dict[Callable[[Path], None], str] = {
    text: "corrupt (file is not a database)",
    short_text: "corrupt (file is not a database)",
    truncated: "corrupt",
    garbage_in_the_middle: "corrupt",
    garbage_in_the_schema: "corrupt",
    another_program: "a database of another program",
    another_program_that_uses_alembic: "a database of another program",
    another_program_that_has_not_migrated_yet: "a database of another program",
    newer_schema: f"newer than this program's {HEAD}",
    directory: "is not a file",
    fifo: "is not a file",
}


def assert_refused(path: Path, reason: str) -> None:
    before = files_in(path.parent)
    url = f"sqlite:///{path}"
    with pytest.raises(StoreError) as refused:
        prepare(url, may_create=True, may_migrate=True, lock=daemon_lock(url))
    said = str(refused.value)
    assert reason in said
    assert str(path) in said
    assert "\n" not in said
    assert files_in(path.parent) == before


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_what_is_no_store_of_ours_is_refused_and_not_a_byte_changes(
    path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(path)
    assert_refused(path, SPOILED[spoil])


@pytest.fixture(params=["with its index", "without its index"])
def crashed(request: pytest.FixtureRequest, path: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Write to the store and crash, so that the change is only in the WAL."""

    def crash(statement: str) -> Path:
        remains = tmp_path / "crashed"
        remains.mkdir()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(statement)
            for suffix in ("", "-wal", "-shm"):
                shutil.copy(f"{path}{suffix}", remains)
        if request.param == "without its index":
            (remains / "store.db-shm").unlink()
        return remains / "store.db"

    return crash


def test_a_newer_schema_that_only_the_wal_tells_of_is_refused_and_not_a_byte_changes(
    crashed: Callable[[str], Path],
) -> None:
    path = crashed("UPDATE alembic_version SET version_num = '9999'")
    assert path.with_name("store.db-wal").stat().st_size > 0
    assert_refused(path, "newer than this program's")


def test_damage_beside_a_wal_is_refused_and_not_a_byte_changes(
    crashed: Callable[[str], Path],
) -> None:
    path = crashed("INSERT INTO facts VALUES ('a', 'b')")
    os.truncate(path, path.stat().st_size - 3 * 4096)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 4096 * 4)
    assert_refused(path, "corrupt")


def test_a_healthy_store_with_a_wal_is_looked_at_without_a_byte_changing(
    crashed: Callable[[str], Path],
) -> None:
    path = crashed("INSERT INTO facts VALUES ('a', 'b')")
    before = files_in(path.parent)
    assert inspect_sqlite(path, HEAD) == (SchemaState.CURRENT, HEAD)
    assert files_in(path.parent) == before


def test_a_look_at_a_store_that_others_open_write_and_close_always_succeeds(
    path: Path, children: Callable[..., "subprocess.Popen[str]"]
) -> None:
    busy = children(BUSY, f"sqlite:///{path}")
    assert busy.stdout is not None
    assert busy.stdout.readline() == "1\n"
    for _ in range(300):
        assert inspect_sqlite(path, HEAD) == (SchemaState.CURRENT, HEAD)
    assert busy.poll() is None
