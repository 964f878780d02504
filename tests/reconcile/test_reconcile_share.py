"""Daemons that come, go, freeze and thaw keep together to the one rate, and use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconciler.outbound.share import SILENCE, USABLE, whole
from tests.reconcile.members import Cluster

RATES = st.sampled_from([0.4, 1.0, 3.0, 5.0, 9.995, 10.0, 12 / 1.1, 20.0, 100.0])
KINDS = st.sampled_from(["start", "start", "stop", "kill", "freeze", "freeze", "outage"])
STEPS = st.lists(
    st.tuples(
        KINDS,
        st.integers(0, 4),  # to whom
        st.sampled_from([0.3, 2.0, 9.9, 11.0, 14.0, 16.0, 40.0]),  # for how long
        st.sampled_from([0.0, 0.2, 1.0, 4.0, 12.0, 16.0]),  # until the next
    ),
    max_size=12,
)


@contextmanager
def cluster(rate: float, seed: int = 0) -> Iterator[Cluster]:
    made = Cluster(rate, seed)
    yield made
    made.close()


@given(
    rate=RATES,
    seed=st.integers(0, 2**16),
    skews=st.lists(st.floats(-0.5, 0.5), min_size=5, max_size=5),
    steps=STEPS,
)
@example(  # a clean restart: who comes calls while what the other has sent is a moment old
    rate=10.0, seed=0, skews=[0.0] * 5, steps=[("stop", 0, 0.3, 0.0), ("start", 0, 0.3, 16.0)]
)
@example(  # one of two leaves: the other must not have the whole in the same second
    rate=10.0,
    seed=0,
    skews=[0.0] * 5,
    steps=[("start", 0, 0.3, 16.0), ("outage", 0, 0.3, 4.0), ("stop", 1, 0.3, 16.0)],
)
@example(  # two come to a third that is frozen and then thaws
    rate=20.0,
    seed=0,
    skews=[0.0] * 5,
    steps=[("freeze", 0, 16.0, 0.2), ("start", 0, 0.3, 0.0), ("start", 0, 0.3, 16.0)],
)
@settings(deadline=None, max_examples=120)
def test_in_no_second_they_call_more_than_the_rate_and_the_burst_together(
    rate: float, seed: int, skews: list[float], steps: list[tuple[str, int, float, float]]
) -> None:
    with cluster(rate, seed) as play:
        play.claims = (0.001, 0.01, 0.2)
        play.start(skew=skews[0])
        play.pass_time(2.0)
        for kind, whom, length, then in steps:
            member = play.members[whom % len(play.members)]
            match kind:
                case "start" if sum(not m.is_dead for m in play.members) < 5:
                    play.start(skew=skews[len(play.members) % 5])
                case "stop":
                    play.stop(member)
                case "kill":
                    play.kill(member)
                case "freeze":
                    play.freeze(member, length)
                case "outage":
                    play.store_is_back_at = play.now + length
            play.pass_time(then)
        play.pass_time(20.0)
        assert play.most_in_a_second() <= rate + whole(rate).burst


@pytest.mark.parametrize("rate", [0.5, 1.0, 5.0, 10.0, 20.0, 200.0])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 7])
def test_together_they_use_the_rate(rate: float, number: int) -> None:
    with cluster(rate) as play:
        for _ in range(number):
            play.start()
        play.pass_time(40.0)
        settled = play.now
        play.pass_time(100.0)
        # Shares are whole calls: of a small rate that does not divide evenly some stays unused.
        assert play.calls_since(settled) >= (0.75 if number > 1 else 0.94) * rate * 100


def test_who_is_alone_begins_at_once_and_who_comes_is_silent_until_all_know_of_it() -> None:
    with cluster(20.0) as play:
        first = play.start()
        play.pass_time(4.0)
        assert play.calls_since(0.0, first.name) >= 20
        second, begun = play.start(), play.now
        play.pass_time(SILENCE)
        assert play.calls_since(begun, second.name) == 0
        play.pass_time(5.0)
        met = play.now
        play.pass_time(10.0)
        assert play.calls_since(met, first.name) == pytest.approx(100, abs=5)
        assert play.calls_since(met, second.name) == pytest.approx(100, abs=5)


def test_of_several_that_come_at_the_same_moment_one_begins_at_once() -> None:
    with cluster(20.0, seed=3) as play:
        for _ in range(4):
            play.start()
        play.pass_time(4.0)
        assert len({name for _, name in play.calls}) == 1
        play.pass_time(25.0)
        assert len({name for _, name in play.calls}) == 4


def test_of_more_daemons_than_calls_in_a_second_the_last_get_none() -> None:
    with cluster(1.0) as play:  # with its burst 2 calls in a second
        members = []
        for _ in range(4):
            members.append(play.start())
            play.pass_time(1.0)
        play.pass_time(40.0)
        settled = play.now
        play.pass_time(60.0)
        counted = [play.calls_since(settled, member.name) for member in members]
        assert counted[2:] == [0, 0]
        assert sum(counted) == pytest.approx(60, abs=4)
        play.kill(members[0])
        play.pass_time(20.0)
        assert play.calls_since(play.now - 3.0, members[2].name) > 0


def test_of_different_rates_the_smallest_is_shared() -> None:
    with cluster(100.0) as play:
        play.start()
        play.start(rate=10.0)
        play.pass_time(30.0)
        settled = play.now
        play.pass_time(20.0)
        assert play.most_in_a_second(since=settled) <= 11
        assert play.calls_since(settled) == pytest.approx(200, abs=15)


def test_a_share_that_is_not_renewed_runs_out_is_said_once_and_said_again_when_it_is_back() -> None:
    with cluster(20.0) as play:
        play.start()
        play.pass_time(7.0)
        away = play.now
        play.store_is_back_at = play.now + 60.0
        play.pass_time(USABLE)
        assert play.calls_since(away) > 0
        silent = play.now
        play.pass_time(50.0)
        assert play.calls_since(silent) == 0
        assert len(play.logged("share_lost")) == 1
        assert play.logged("share_regained") == []
        play.pass_time(10.0)
        assert play.calls_since(silent) > 0
        assert play.logged("share_lost") == [{}]
        assert play.logged("share_regained") == [
            {"instances": 1, "calls_per_second": 20.0, "wait_s": 1}
        ]


def test_one_renewal_that_fails_costs_nothing() -> None:
    with cluster(20.0) as play:
        for _ in range(3):
            play.start()
        play.pass_time(42.0)
        failed = play.now
        play.store_is_back_at = play.now + 4.0
        play.pass_time(20.0)
        assert play.calls_since(failed) == pytest.approx(400, abs=45)


def test_one_that_thaws_calls_nothing_on_its_old_share() -> None:
    with cluster(20.0) as play:
        first, second = play.start(), play.start()
        play.pass_time(30.0)
        play.freeze(second, 30.0)
        play.pass_time(29.0)
        assert play.calls_since(play.now - 5.0, first.name) == pytest.approx(100, abs=5)
        thaws = play.now + 1.0
        play.pass_time(1.0 + SILENCE)
        assert play.calls_since(thaws, second.name) == 0
        play.pass_time(10.0)
        assert play.calls_since(thaws, second.name) > 0


def test_a_change_is_told_with_how_many_there_are_and_what_each_may_do() -> None:
    with cluster(20.0) as play:
        play.start()
        play.pass_time(7.0)
        play.start()
        play.pass_time(12.0)
        assert play.logged("share_changed") == [
            {"instances": 1, "calls_per_second": 20.0, "wait_s": 1},
            {"instances": 2, "calls_per_second": 10.0, "wait_s": 15},
            {"instances": 2, "calls_per_second": 10.0, "wait_s": 0},
        ]
