"""The file of the store is damaged, moved or exchanged; callbacks go on to be kept."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.house import House, WellApplication

STORE = "the store"
PAGE = 4096


def damage_callbacks(path: Path) -> None:
    """Write over every page of the inbox but the first of the file."""
    with closing(sqlite3.connect(path)) as connection:
        roots = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE tbl_name = 'callbacks' AND rootpage > 1"
        ).fetchall()
    with path.open("r+b") as file:
        for [number] in roots:
            file.seek((number - 1) * PAGE)
            file.write(b"\xa5" * PAGE)


async def callbacks_are_kept(house: House, *process_ids: str) -> None:
    for process_id in process_ids:
        assert await house.call_back(process_id) == 200
    assert len(house.told("callback_spooled")) == len(process_ids)
    assert len(house.told("store_unavailable")) == 1
    assert len(list((house.directory / "spool").glob("*.spool"))) == 1


async def assert_all_settled_by_their_callbacks(
    house: House, application: WellApplication, count: int
) -> None:
    await house.ends_well(application)
    processes = await house.processes()
    assert [process.settled_by for process in processes.values()] == ["callback"] * count
    assert list((house.directory / "spool").glob("*.spool")) == []


@pytest.mark.fault(STORE, "has a damaged page", "store_unavailable")
async def test_callbacks_wait_in_the_spool_until_a_damaged_file_is_restored(
    house: House, well_application: WellApplication
) -> None:
    processes = await house.register(3)
    await house.stop()
    backup = house.directory / "backup.db"
    shutil.copy(house.store_file, backup)
    damage_callbacks(house.store_file)
    await house.start()

    await callbacks_are_kept(house, *processes, "new")
    assert "malformed" in house.told("store_unavailable")[0]["reason"]
    await house.stop()
    shutil.copy(backup, house.store_file)
    await house.start()

    await assert_all_settled_by_their_callbacks(house, well_application, 4)


@pytest.mark.parametrize(
    "is_replaced",
    [
        pytest.param(False, marks=pytest.mark.fault(STORE, "is moved away", "store_unavailable")),
        pytest.param(
            True, marks=pytest.mark.fault(STORE, "is replaced by a copy", "store_unavailable")
        ),
    ],
)
async def test_callbacks_wait_in_the_spool_until_the_right_file_is_back(
    house: House, well_application: WellApplication, is_replaced: bool
) -> None:
    processes = await house.register(3)
    aside = house.directory / "aside.db"
    house.store_file.rename(aside)
    if is_replaced:
        shutil.copy(aside, house.store_file)

    await callbacks_are_kept(house, *processes, "new")
    assert house.told("store_unavailable")[0]["reason"].startswith("replaced: ")
    await house.stop()
    aside.replace(house.store_file)
    await house.start()

    await assert_all_settled_by_their_callbacks(house, well_application, 4)
