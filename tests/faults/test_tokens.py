"""Tokens that live shorter, or begin later, than the token endpoint says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.faults import ASSURE, TOKEN
from tests.faults.house import MINUTE

if TYPE_CHECKING:
    from tests.faults.house import House, WellApplication, WellAssure


async def settle_in_turns(house: House, application: WellApplication) -> None:
    """Let processes become overdue one after the other, some minutes apart."""
    for _ in range(4):
        await house.register(2)
        house.clock.move(15 * MINUTE)
        await house.ends_well(application)


@pytest.mark.fault(TOKEN, "gives tokens that live for one second")
async def test_with_tokens_that_live_a_second_every_call_has_one_that_is_good(
    house: House, well_assure: WellAssure, well_application: WellApplication
) -> None:
    well_assure.expires_in = 1
    well_assure.good_until = 10  # seconds of a busy machine

    await settle_in_turns(house, well_application)

    assert {line["http_status"] for line in house.told("outbound_call")} == {200}
    assert house.calls(TOKEN) <= house.calls(ASSURE)


@pytest.mark.fault(TOKEN, "gives tokens that expire earlier than it says")
async def test_a_token_that_assure_refuses_before_its_time_is_replaced_within_the_call(
    house: House, well_assure: WellAssure, well_application: WellApplication
) -> None:
    well_assure.good_until = 10 * MINUTE

    await settle_in_turns(house, well_application)

    assert house.told("fetch_failed") == []
    assert house.calls(TOKEN) == 4


@pytest.mark.fault(TOKEN, "gives tokens that count later than it says", "http_401")
async def test_a_token_that_is_good_later_is_kept_long_enough_to_be_used(
    house: House, well_assure: WellAssure, well_application: WellApplication
) -> None:
    well_assure.good_from = 30

    await settle_in_turns(house, well_application)

    assert house.words()["http_401"]
    assert house.calls(TOKEN) <= house.calls(ASSURE) <= 60
