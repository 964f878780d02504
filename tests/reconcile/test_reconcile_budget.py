"""The budget of all calls: kept in every second, used up, and given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.ledger import Verb
from reconciler.ledger.policy import MINUTE
from reconciler.outbound.budget import Budget

if TYPE_CHECKING:
    from tests.reconcile.stage import Play


def most_in(window: float, times: list[float]) -> int:
    """The most of ``times`` that lie in any window of so many seconds."""
    return max(sum(begin <= at < begin + window for at in times) for begin in times)


async def overdue(play: Play, number: int) -> list[str]:
    """So many processes that are all due at once and need one call each."""
    play.set_policy(ladder=(Verb.FETCH,))
    ids = await play.register_many([f"p{n:03}" for n in range(number)], callback="lose")
    for process_id in ids:
        play.world.finish(process_id, "accepted")
    play.clock.wall += 15 * MINUTE
    return ids


async def all_settled(play: Play, ids: list[str]) -> bool:
    return (await play.store.views.counts()).states["settled"] == len(ids)


@pytest.mark.parametrize("rate", [0.5, 7, 20, 200])
async def test_in_no_second_of_the_clock_more_calls_leave_than_the_rate_and_the_burst(
    play: Play, rate: float
) -> None:
    play.clock.flies = True
    await play.daemon(rate=rate, real_time=False)
    ids = await overdue(play, 60)

    await play.rest()

    assert await all_settled(play, ids)
    times = play.arrivals()
    assert len(times) == 60
    assert most_in(1.0, times) <= rate + max(1, rate / 10)
    assert times[-1] - times[0] <= 60 / rate * 1.1  # and the budget is used


async def test_500_processes_that_are_due_at_once_keep_to_the_rate_in_real_time(
    play: Play,
) -> None:
    rate, burst = 200, 20
    taken: list[float] = []

    class Noting(Budget):
        async def take(self, most: int = 1) -> int:
            units = await super().take(most)
            taken.extend([play.clock.monotonic()] * units)
            return units

    await play.daemon(budget=Noting(rate, clock=play.clock))
    ids = await overdue(play, 500)
    await play.rest()

    assert await all_settled(play, ids)
    arrived = play.arrivals()
    assert len(arrived) == 500
    # On its way from the budget to the far side a call can lose time, and the next one none:
    # calls of one second arrive within a second that is shorter by what these ways differ.
    ways = [there - here for here, there in zip(taken, arrived, strict=False)]
    assert most_in(1.0 - (max(ways) - min(ways)), arrived) <= rate + burst


async def test_when_the_sweeper_last_looked_is_known_while_it_is_still_busy(play: Play) -> None:
    one = await play.daemon(rate=1, real_time=False)
    await overdue(play, 3)
    await play.tick()
    await play.until_calls(1)  # and the next unit is waited for
    assert one.sweeper.last_sweep_at == play.clock.now()
