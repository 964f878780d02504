"""Every process and every result ends right once a far side that has failed is well again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.faults import APPLICATION, ASSURE, TOKEN, Fault, Stage, cells
from tests.faults.house import MINUTE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.conftest import Build
    from tests.faults.house import WellApplication

TIMEOUT = 15 * MINUTE
"""Seconds until a callback is missing."""

MOST_CALLS = 5
"""Calls about one process, or attempts to deliver it, in the first 7 minutes of a fault."""


async def assure_fails(
    build: Build,
    stage: Callable[..., Stage],
    application: WellApplication,
    victim: str,
    fault: Fault,
    word: str,
) -> None:
    house = await build(over_tls=fault.over_tls)
    await fault.begin(house.far[victim], stage(over_tls=fault.over_tls))
    processes = await house.register()
    house.clock.move(TIMEOUT)
    await house.look()
    await house.until(lambda: word in house.words())
    await house.minutes(1, 2, 4)

    assert house.calls(victim) <= MOST_CALLS * len(processes)
    assert {process.state for process in (await house.processes()).values()} == {"overdue"}
    assert await house.call_back("came-meanwhile") == 200
    assert application.taken == []

    await house.far[victim].mend()
    await house.ends_well(application)


@pytest.mark.parametrize(("fault", "word"), cells(ASSURE))
async def test_every_process_ends_with_its_true_status_once_assure_is_well_again(
    build: Build,
    stage: Callable[..., Stage],
    well_application: WellApplication,
    fault: Fault,
    word: str,
) -> None:
    await assure_fails(build, stage, well_application, ASSURE, fault, word)


@pytest.mark.parametrize(("fault", "word"), cells(TOKEN))
async def test_every_process_ends_with_its_true_status_once_tokens_can_be_had_again(
    build: Build,
    stage: Callable[..., Stage],
    well_application: WellApplication,
    fault: Fault,
    word: str,
) -> None:
    await assure_fails(build, stage, well_application, TOKEN, fault, word)


@pytest.mark.parametrize(("fault", "word"), cells(APPLICATION))
async def test_every_result_is_delivered_once_the_application_is_well_again(
    build: Build,
    stage: Callable[..., Stage],
    well_application: WellApplication,
    fault: Fault,
    word: str,
) -> None:
    house = await build(over_tls=fault.over_tls)
    application = house.far[APPLICATION]
    await fault.begin(application, stage(over_tls=fault.over_tls))
    processes = await house.register()
    house.clock.move(TIMEOUT)
    await house.look()
    await house.until(lambda: word in house.words())
    await house.minutes(1, 2, 4)

    assert house.calls(APPLICATION) <= MOST_CALLS * len(processes)
    assert {process.state for process in (await house.processes()).values()} == {"settled"}
    assert await house.call_back("came-meanwhile") == 200
    assert {row.state for row in await house.deliveries()} == {"pending"}

    await application.mend()
    await house.ends_well(well_application)
