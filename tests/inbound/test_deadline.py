"""A deadline is kept, wherever it was moved to meanwhile, with one timer of the loop at most."""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Any, cast

import pytest

from reconciler.inbound.deadline import Deadline


class _Timer:
    def __init__(self) -> None:
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class _Loop:
    """The part of an event loop that a deadline uses, on a clock that is moved by hand."""

    def __init__(self) -> None:
        self._now = 0.0
        self._timers: list[tuple[float, int, _Timer, Callable[[], None]]] = []
        self._serial = count()
        self.made = 0

    def time(self) -> float:
        return self._now

    def call_at(self, at: float, callback: Callable[[], None]) -> Any:
        timer = _Timer()
        self.made += 1
        heapq.heappush(self._timers, (at, next(self._serial), timer, callback))
        return timer

    @property
    def waiting(self) -> int:
        return sum(not timer.is_cancelled for _, _, timer, _ in self._timers)

    def run_until(self, end: float) -> None:
        while self._timers and self._timers[0][0] <= end:
            at, _, timer, callback = heapq.heappop(self._timers)
            self._now = max(self._now, at)
            if not timer.is_cancelled:
                callback()
        self._now = end


@pytest.fixture
def loop() -> _Loop:
    return _Loop()


@pytest.fixture
def deadline(loop: _Loop) -> Deadline:
    return Deadline(cast(asyncio.AbstractEventLoop, loop))


def test_each_deadline_is_kept_at_its_moment(loop: _Loop, deadline: Deadline) -> None:
    calls: list[tuple[str, float]] = []

    def note(name: str) -> Callable[[], None]:
        return lambda: calls.append((name, loop.time()))

    deadline.set(10, note("first"))
    loop.run_until(5)
    deadline.set(75, note("later"))
    loop.run_until(20)
    assert calls == []
    loop.run_until(100)
    assert calls == [("later", 80)]

    deadline.set(50, note("replaced"))
    deadline.set(10, note("sooner"))
    loop.run_until(200)
    assert calls[1:] == [("sooner", 110)]
    assert not deadline.is_set


def test_one_that_was_cleared_is_not_kept_and_can_be_set_again(
    loop: _Loop, deadline: Deadline
) -> None:
    calls: list[float] = []
    deadline.set(10, lambda: calls.append(loop.time()))
    deadline.clear()
    loop.run_until(15)
    assert not deadline.is_set

    deadline.set(10, lambda: calls.append(loop.time()))
    loop.run_until(30)

    assert calls == [25]


def test_a_closed_one_leaves_no_timer(loop: _Loop, deadline: Deadline) -> None:
    deadline.set(10, lambda: None)
    deadline.close()

    assert loop.waiting == 0


def test_a_busy_connection_makes_hardly_any_timers(loop: _Loop, deadline: Deadline) -> None:
    for tick in range(1000):
        deadline.set(10, lambda: None)
        deadline.clear()
        deadline.set(75, lambda: None)
        loop.run_until(tick / 100)

    assert loop.made < 5
    assert loop.waiting == 1
