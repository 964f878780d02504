"""The soak test fails on growth, and only on growth."""

from random import Random
from typing import Any

import pytest

from tests.soak.growth import Sample, judge, rise

SECONDS, CYCLE, RATE = 3600.0, 180.0, 200.0
FLAT = {"memory": 100.0, "p50": 8.0, "p99": 60.0, "unapplied": 3, "overdue": 9, "pending": 4}


def run(**change: Any) -> list[str]:
    """Judge an hour of noise around FLAT; ``change`` maps a field to what a time adds to it."""
    chance = Random(7)
    samples = []
    for at in range(0, int(SECONDS), 5):
        values: dict[str, Any] = {
            name: value * chance.uniform(0.9, 1.2) + change.get(name, lambda _: 0)(at)
            for name, value in FLAT.items()
        }
        is_down = at % CYCLE < 20  # Assure or the application, in each cycle
        values["pending"] += is_down * 4_000
        values["p99"] += is_down * 300
        samples.append(Sample(at=float(at), age=float(at), **values))
    return judge(samples, seconds=SECONDS, cycle=CYCLE, rate=RATE)


def test_noise_and_faults_that_come_and_go_are_no_growth() -> None:
    assert run() == []


def test_a_rise_that_comes_to_rest_in_the_first_half_is_none() -> None:
    assert run(memory=lambda at: min(at / 20, 60)) == []


def test_a_single_outlier_is_none() -> None:
    assert run(memory=lambda at: 400 * (at == 3595), p50=lambda at: 9_000 * (at == 2000)) == []


@pytest.mark.parametrize(
    ("field", "leak", "told"),
    [
        ("memory", lambda at: at / 100, "memory"),
        ("memory", lambda at: 25 * (at // 600), "memory"),
        ("p50", lambda at: at / 200, "p50"),
        ("p99", lambda at: at / 10, "p99"),
        ("unapplied", lambda at: at / 6, "backlog"),
        ("overdue", lambda at: at / 6, "backlog"),
        ("pending", lambda at: at / 6, "backlog"),
    ],
    ids=["memory", "memory in steps", "p50", "p99", "unapplied", "overdue", "pending"],
)
def test_growth_is_told(field: str, leak: Any, told: str) -> None:
    (problem,) = run(**{field: leak})
    assert told in problem


def test_a_run_that_is_too_short_is_not_called_flat() -> None:
    problems = judge([], seconds=10.0, cycle=5.0, rate=200.0)
    assert len(problems) == 4


def test_a_rise_is_the_slope_over_the_whole_time() -> None:
    assert rise([(0.0, 5.0), (10.0, 6.0), (20.0, 7.0), (40.0, 9.0)]) == pytest.approx(4.0)
