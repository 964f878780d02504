"""The wall clock jumps while processes and results wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.far_side import answer, says
from tests.faults.faults import APPLICATION, ASSURE
from tests.faults.house import DAY, MINUTE

if TYPE_CHECKING:
    from tests.faults.house import House, WellApplication, WellAssure

CLOCK = "the clock"
UNAVAILABLE = says(answer(b"", b"503 Service Unavailable"))
JUMPS = {
    "a day ahead": DAY,
    "a day back": -DAY,
    "100 days ahead": 100 * DAY,
    "100 days back": -100 * DAY,
}
MOST_CALLS = 8
"""Calls about one process, or attempts to deliver it, from its registration to its end."""


def jumps(how: str) -> pytest.MarkDecorator:
    cells = [
        pytest.param(
            seconds,
            marks=pytest.mark.fault(
                CLOCK, f"jumps {name} {how}", "clock_jumped_back" if seconds < 0 else ""
            ),
            id=name.replace(" ", "-"),
        )
        for name, seconds in JUMPS.items()
    ]
    return pytest.mark.parametrize("jump", cells)


async def all_wait_for_something(house: House) -> None:
    """Have results that wait for the next attempt, and processes for a retry and a callback."""
    house.far[APPLICATION].fail(UNAVAILABLE)
    await house.register(3)
    house.clock.move(15 * MINUTE)
    await house.look()
    await house.until(lambda: len(house.told("delivery_failed")) >= 3)
    house.far[ASSURE].fail(UNAVAILABLE)
    await house.register(3)
    house.clock.move(15 * MINUTE)
    await house.look()
    await house.until(lambda: len(house.told("fetch_failed")) >= 3)
    await house.register(3)
    await house.look()


async def mend(house: House) -> None:
    await house.far[APPLICATION].mend()
    await house.far[ASSURE].mend()


def assert_told_and_calm(house: House, jump: int) -> None:
    assert bool(house.told("clock_jumped_back")) == (jump < 0)
    assert house.calls(ASSURE) <= MOST_CALLS * 9
    assert house.calls(APPLICATION) <= MOST_CALLS * 9


@jumps("while the daemon runs")
async def test_nothing_waits_longer_or_is_lost_when_the_clock_jumps(
    house: House, well_application: WellApplication, jump: int
) -> None:
    await all_wait_for_something(house)
    house.clock.wall += jump * 1000
    await mend(house)

    await house.ends_well(well_application)
    assert_told_and_calm(house, jump)


@jumps("while the daemon is down")
async def test_nothing_waits_longer_or_is_lost_when_the_clock_jumps_between_two_daemons(
    house: House, well_application: WellApplication, jump: int
) -> None:
    await all_wait_for_something(house)
    await house.stop()
    house.clock.wall += jump * 1000
    await mend(house)
    await house.start()

    await house.ends_well(well_application)
    assert_told_and_calm(house, jump)


@pytest.mark.fault(CLOCK, "jumps 100 days ahead, then back")
async def test_a_clock_that_was_wrong_for_a_while_leaves_nothing_that_waits_for_it(
    house: House, well_application: WellApplication
) -> None:
    await house.register(3)
    house.far[ASSURE].fail(UNAVAILABLE)
    house.clock.wall += 100 * DAY * 1000
    await house.look()
    await house.until(lambda: len(house.told("fetch_failed")) >= 3)
    await house.register(3)
    house.clock.wall -= 100 * DAY * 1000
    await house.far[ASSURE].mend()

    await house.ends_well(well_application)


@pytest.mark.fault(CLOCK, "jumps 100 days ahead while the end user is not done", "process_expired")
async def test_a_process_that_a_jump_has_expired_still_takes_its_callback(
    house: House, well_assure: WellAssure, well_application: WellApplication
) -> None:
    [process_id] = await house.register(1)
    well_assure.pending = {process_id}
    house.clock.wall += 100 * DAY * 1000
    await house.ends()
    assert well_application.taken[-1][1:] == (process_id, "process.expired")

    well_assure.pending = set()
    assert await house.call_back(process_id) == 200
    await house.until(lambda: len(well_application.taken) == 2)
    assert well_application.taken[-1][1:] == (process_id, "process.settled")
    settled = (await house.processes())[process_id]
    assert (settled.state, settled.status) == ("settled", "accepted")
