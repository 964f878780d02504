import asyncio
from collections.abc import Awaitable
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconciler.outbound.budget import Budget
from reconciler.runtime.clock import Clock
from tests.clock import PlayedClock

# Rates for which rate + burst lies on or just beside a whole number are the ones that rounding
# could break.
RATES = st.one_of(
    st.floats(0.05, 400),
    st.sampled_from([0.1, 0.3, 1, 3, 7, 9.995, 10, 12 / 1.1, 20, 23 / 1.1, 30, 70, 100 / 3]),
)
STARTS = st.sampled_from([0.0, 17.3, 1e6 + 0.1, 3e7 + 0.7])


def burst_of(rate: float) -> float:
    return max(1.0, rate / 10)


async def call(budget: Budget, most: int = 1) -> int:
    """Take units and let a call leave for each of them."""
    units = await budget.take(most)
    assert all(budget.leave() for _ in range(units))
    return units


def most_in_a_second(left: list[tuple[float, int]]) -> int:
    """The largest number of units in any closed window of one second."""
    most = first = inside = 0
    for last, (_, units) in enumerate(left):
        inside += units
        while left[last][0] - left[first][0] > 1.0:
            inside -= left[first][1]
            first += 1
        most = max(most, inside)
    return most


@given(
    rate=RATES,
    start=STARTS,
    lateness=st.sampled_from([0.0, 0.0013, 0.02, 0.4]),
    steps=st.lists(
        st.tuples(st.integers(1, 60), st.sampled_from([0.0, 0.0, 0.01, 0.1, 0.5, 0.999, 1.7])),
        min_size=1,
        max_size=60,
    ),
)
@example(rate=12 / 1.1, start=0.0, lateness=0.0, steps=[(1, 0.0)] * 40)
@settings(deadline=None, max_examples=150)
def test_no_window_of_a_second_holds_more_than_the_rate_and_the_burst(
    rate: float, start: float, lateness: float, steps: list[tuple[int, float]]
) -> None:
    async def run() -> list[tuple[float, int]]:
        clock = PlayedClock(monotonic=start, flies=True, lateness=lateness)
        budget = Budget(rate, clock=clock)
        left = []
        for most, idle in steps:
            units = await call(budget, most)
            assert 1 <= units <= most
            left.append((clock.at, units))
            clock.move(idle)
        return left

    assert most_in_a_second(asyncio.run(run())) <= rate + burst_of(rate)


@given(
    rate=st.sampled_from([1.0, 5.0, 20.0, 23 / 1.1, 100.0]),
    steps=st.lists(
        st.tuples(
            st.integers(1, 12),  # asked for
            st.integers(0, 12),  # how many of them are used, if there are as many
            st.sampled_from([0.0, 0.02, 0.3, 0.9, 1.5]),  # until the next one
            st.integers(0, 5),  # how many steps later the rest is given back
        ),
        min_size=1,
        max_size=50,
    ),
)
@example(rate=20.0, steps=[(2, 0, 0.9, 1), *[(1, 1, 0.0, 0)] * 40])
@settings(deadline=None, max_examples=150)
def test_units_that_are_given_back_late_do_not_break_the_window(
    rate: float, steps: list[tuple[int, int, float, int]]
) -> None:
    async def run() -> list[tuple[float, int]]:
        clock = PlayedClock(flies=True)
        budget = Budget(rate, clock=clock)
        held: list[tuple[int, int]] = []
        left = []
        for number, (most, used, idle, later) in enumerate(steps):
            for rest in [rest for due, rest in held if due <= number]:
                budget.give_back(rest)
            held = [(due, rest) for due, rest in held if due > number]
            units = await budget.take(most)
            unused = units - min(used, units)
            if sum(rest for _, rest in held) + unused < int(rate + burst_of(rate)):
                held.append((number + later, unused))
            else:  # all that may leave in a second would be in our hands
                budget.give_back(unused)
            assert all(budget.leave() for _ in range(units - unused))
            left.append((clock.at, units - unused))
            clock.move(idle)
        return left

    assert most_in_a_second(asyncio.run(run())) <= rate + burst_of(rate)


@pytest.mark.parametrize("rate", [0.2, 1, 3.7, 10, 12 / 1.1, 20, 250])
@pytest.mark.parametrize("lateness", [0.0, 0.02])
@pytest.mark.parametrize("most", [1, 16])
async def test_constant_demand_uses_the_rate(rate: float, lateness: float, most: int) -> None:
    clock = PlayedClock(flies=True, lateness=lateness)
    budget = Budget(rate, clock=clock)
    begun, taken = clock.at, 0
    while taken < 300:
        taken += await call(budget, most)

    assert 0.95 * rate <= taken / (clock.at - begun) <= rate + burst_of(rate)


async def test_after_a_rest_just_the_burst_is_there() -> None:
    clock = PlayedClock(flies=True)
    budget = Budget(30, clock=clock)
    clock.move(3600)

    assert await call(budget, 100) == 3
    assert not clock.sleeps
    assert await call(budget, 100) == 1
    assert clock.sleeps


async def test_units_given_back_can_be_taken_again() -> None:
    clock = PlayedClock(flies=True)
    budget = Budget(50, clock=clock)
    assert await budget.take(5) == 5
    budget.give_back(3)

    assert await budget.take(5) == 3
    assert not clock.sleeps


async def test_giving_back_fills_the_bucket_no_higher_than_the_burst() -> None:
    clock = PlayedClock(flies=True)
    budget = Budget(50, clock=clock)
    budget.give_back(40)

    assert await call(budget, 50) == 5
    await budget.take()
    assert clock.sleeps


async def test_nothing_leaves_during_a_pause() -> None:
    clock = PlayedClock(flies=True)
    budget = Budget(20, clock=clock)
    begun = clock.at
    budget.pause(30)
    assert budget.paused_for == 30

    assert await budget.take(10) == 2
    assert clock.at == pytest.approx(begun + 30)
    assert budget.paused_for == 0


async def test_a_longer_pause_is_not_shortened_and_none_is_longer_than_an_hour() -> None:
    clock = PlayedClock(flies=True)
    budget = Budget(20, clock=clock)
    budget.pause(60)
    budget.pause(5)
    assert budget.paused_for == 60
    budget.pause(1e9)
    assert budget.paused_for == 3600


async def test_a_waiter_notices_a_pause_that_begins_while_it_sleeps() -> None:
    class Pausing(PlayedClock):
        async def sleep(self, seconds: float) -> None:
            if not self.sleeps:
                budget.pause(10)
            await super().sleep(seconds)

    clock = Pausing(flies=True)
    budget = Budget(1, clock=clock)
    begun = clock.at
    await call(budget)
    await call(budget)

    assert clock.at >= begun + 10


async def test_a_waiter_notices_a_new_rate_within_a_second() -> None:
    class Reloading(PlayedClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            budget.set_rate(100)

    clock = Reloading(flies=True)
    budget = Budget(0.001, clock=clock)
    begun = clock.at
    await call(budget)
    await call(budget)

    assert clock.at <= begun + 1.1


async def test_waiters_are_served_in_the_order_they_came() -> None:
    clock = PlayedClock(flies=True)
    budget = Budget(5, clock=clock)
    served: list[int] = []

    async def wait(number: int, most: int) -> None:
        await call(budget, most)
        served.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(12):
            group.create_task(wait(number, most=1 + number % 3))

    assert served == list(range(12))


async def test_a_cancelled_waiter_takes_nothing_and_holds_up_nobody() -> None:
    clock = PlayedClock()
    budget = Budget(1, clock=clock)
    await call(budget)
    waiters = [asyncio.ensure_future(budget.take()) for _ in range(3)]
    await asyncio.sleep(0)
    waiters[0].cancel()  # the one that sleeps
    waiters[1].cancel()  # one that waits for its turn
    clock.flies = True

    assert await waiters[2] == 1
    assert clock.at == pytest.approx(1001)
    assert waiters[0].cancelled()
    assert waiters[1].cancelled()


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_must_be_a_positive_number(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        Budget(rate, clock=PlayedClock())


async def test_at_least_one_unit_must_be_asked_for() -> None:
    with pytest.raises(ValueError, match="one unit"):
        await Budget(1, clock=PlayedClock()).take(0)


async def test_on_the_real_clock_the_window_holds_as_well() -> None:
    left: list[float] = []
    clock = Clock()
    budget = Budget(200, clock=clock)

    async def one_call() -> None:
        await call(budget)
        left.append(clock.monotonic())

    calls: list[Awaitable[None]] = [one_call() for _ in range(60)]
    await asyncio.gather(*calls)

    assert all(a <= b for a, b in pairwise(left))
    # 20 at once, the other 40 at 200 a second
    assert left[-1] - left[0] >= 0.19
