"""Nothing acknowledged is lost, whenever a daemon dies; ``make torture`` has more of the same."""

from pathlib import Path

import pytest

from tests.forks import Forks
from tests.postgres import Databases
from tests.torture.lives import Equipment, lead_a_life

ROUNDS = 4
"""Daemons that die in each test; the seeds draw four different deaths."""

pytestmark = pytest.mark.timeout(600)


async def test_kill_9_at_any_moment_loses_nothing_on_sqlite(
    tmp_path: Path, library_if_any: Path | None, forks: Forks
) -> None:
    equipment = Equipment(None, library_if_any, forks)
    await lead_a_life("sqlite", 12, ROUNDS, tmp_path, equipment, print)


async def test_kill_9_at_any_moment_loses_nothing_on_postgresql(
    tmp_path: Path, databases: Databases, library_if_any: Path | None, forks: Forks
) -> None:
    equipment = Equipment(databases, library_if_any, forks)
    await lead_a_life("postgres", 4, ROUNDS, tmp_path, equipment, print)


async def test_a_power_cut_loses_nothing_that_was_acknowledged(
    tmp_path: Path, library: Path
) -> None:
    await lead_a_life("sqlite-power", 7, ROUNDS, tmp_path, Equipment(None, library), print)
