from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.outbound.budget import Budget
from reconciler.outbound.share import (
    MEMBER,
    NOTHING,
    SILENCE,
    USABLE,
    WINDOW,
    Portion,
    Share,
    portion,
    whole,
)
from tests.clock import PlayedClock

HALF = portion(20.0, 2, 0)
WHOLE = portion(20.0, 1, 0)


def alone(at: float = 100.0) -> Share:
    share = Share()
    share.joined(at, at, WHOLE, alone=True)
    return share


@given(rate=st.floats(0.05, 400), live=st.integers(1, 40))
def test_the_portions_of_all_are_the_whole_and_the_oldest_has_the_most(
    rate: float, live: int
) -> None:
    portions = [portion(rate, live, place) for place in range(live)]
    assert sum(each.most for each in portions) == whole(rate).most
    assert sum(each.rate for each in portions) == pytest.approx(rate)
    assert [each.most for each in portions] == sorted(each.most for each in portions)[::-1]
    assert all((each.rate > 0) == (each.most > 0) for each in portions)


@given(
    rate=st.floats(0.05, 400),
    any_of=st.integers(1, 12),
    more=st.lists(st.tuples(st.integers(0, 5), st.floats(0.1, 1.0)), min_size=12, max_size=12),
)
def test_who_counts_others_besides_or_a_smaller_rate_never_takes_more(
    rate: float, any_of: int, more: list[tuple[int, float]]
) -> None:
    """Each of ``any_of`` knows of the others; each may know of more, some of them older."""
    seen = [
        portion(rate * part, any_of + extra, place + extra // 2)
        for place, (extra, part) in enumerate(more[:any_of])
    ]
    assert sum(each.most for each in seen) <= whole(rate).most


def test_three_share_two_hundred() -> None:
    portions = [portion(200.0, 3, place) for place in range(3)]
    assert [each.most for each in portions] == [74, 73, 73]
    assert {round(each.rate, 2) for each in portions} == {66.67}


def test_before_it_has_joined_there_is_nothing() -> None:
    share = Share()
    assert share.at(0.0) == NOTHING
    assert share.must_join(0.0)


def test_who_is_alone_waits_for_what_another_may_have_sent_just_before_it_left() -> None:
    share = alone()
    assert share.at(100.0 + WINDOW - 0.001) == NOTHING
    assert share.at(100.0 + WINDOW) == WHOLE


def test_silence_counts_from_the_end_of_the_join_and_no_renewal_shortens_it() -> None:
    share = Share()
    share.joined(100.0, 101.0, HALF, alone=False)
    share.renewed(105.0, 105.0, portion(20.0, 3, 2))
    share.renewed(110.0, 110.0, HALF)
    assert share.opens_in(110.0) == pytest.approx(6.0)
    assert share.at(101.0 + SILENCE - 0.001) == NOTHING
    assert share.at(101.0 + SILENCE) == HALF


def test_a_share_that_shrinks_does_so_at_once_and_one_that_grows_a_second_later() -> None:
    share = alone()
    share.renewed(105.0, 105.0, HALF)
    assert share.at(105.0) == HALF
    share.renewed(110.0, 110.0, WHOLE)
    assert share.at(110.0 + WINDOW - 0.001) == HALF
    assert share.at(110.0 + WINDOW) == WHOLE


def test_a_second_renewal_while_it_grows_does_not_put_it_off() -> None:
    share = alone()
    share.renewed(100.5, 100.5, WHOLE)
    assert share.at(100.0 + WINDOW) == WHOLE


def test_it_is_usable_for_ten_seconds_from_the_begin_of_the_renewal() -> None:
    share = alone()
    share.renewed(105.0, 108.0, WHOLE)
    assert share.at(105.0 + USABLE - 0.001) == WHOLE
    assert share.at(105.0 + USABLE) == NOTHING
    assert share.has_run_out(105.0 + USABLE)


def test_renewed_before_our_row_was_forgotten_it_goes_on_at_once() -> None:
    share = alone()
    share.renewed(110.5, 100.0 + MEMBER, WHOLE)
    assert share.at(100.0 + MEMBER) == WHOLE


def test_renewed_too_late_it_has_to_join_again() -> None:
    share = alone()
    share.renewed(112.0, 100.0 + MEMBER + 0.001, WHOLE)
    assert share.must_join(114.0)
    assert share.at(114.0) == NOTHING
    share.joined(114.0, 114.0, HALF, alone=False)
    assert share.at(114.0) == NOTHING
    assert not share.must_join(114.0)


def test_within_is_the_lesser_in_both() -> None:
    assert Portion(5.0, 9).within(Portion(7.0, 3)) == Portion(5.0, 3)


async def test_a_unit_in_hand_does_not_leave_once_the_share_has_run_out() -> None:
    clock, share = PlayedClock(monotonic=100.0, flies=True), alone(95.0)
    budget = Budget(20.0, share=share, clock=clock)
    assert await budget.take(2) == 2
    assert budget.leave()
    clock.at = 95.0 + USABLE
    assert not budget.leave()
    assert budget.rate == 0.0


async def test_units_in_hand_count_among_what_may_leave_in_the_second() -> None:
    clock = PlayedClock(monotonic=100.0, flies=True)
    budget = Budget(1.0, clock=clock)  # 2 calls in a second
    assert [await budget.take(), await budget.take()] == [1, 1]
    clock.move(60.0)  # we stood still, with both in hand
    taken = clock.at
    assert budget.leave()
    assert budget.leave()
    assert await budget.take() == 1
    assert clock.at >= taken + WINDOW


async def test_a_take_waits_until_a_share_is_there_and_begins_soon_after() -> None:
    clock, share = PlayedClock(monotonic=100.0, flies=True), Share()
    budget = Budget(20.0, share=share, clock=clock)
    share.joined(100.0, 100.0, HALF, alone=False)
    for begun in (105.0, 110.0):
        share.renewed(begun, begun, HALF)
    assert await budget.take() == 1
    assert 100.0 + SILENCE <= clock.at < 100.0 + SILENCE + 0.3


async def test_a_lower_rate_holds_at_once_whatever_the_share_says() -> None:
    clock, share = PlayedClock(monotonic=100.0, flies=True), alone(90.0)
    budget = Budget(20.0, share=share, clock=clock)
    assert budget.rate == 0.0  # since 100.0 it has run out
    share.renewed(100.0, 100.0, replace(WHOLE))
    assert budget.rate == 20.0
    budget.set_rate(5.0)
    assert budget.rate == 5.0
    budget.set_rate(500.0)
    assert budget.rate == 20.0
