"""All daemons on a PostgreSQL server follow its clock."""

from collections.abc import Callable
from typing import Any

import pytest
import structlog
from structlog.testing import CapturingLogger

from reconciler.runtime.clock import Clock
from reconciler.store.clock import StoreClock
from reconciler.store.open import Store
from tests.clock import PlayedClock

Look = Callable[..., list[tuple[Any, ...]]]
HOUR = 3_600_000


class Own(Clock):
    """This machine's clock: wrong by ``error`` ms, and each reading takes ``step`` ms."""

    def __init__(self, look: Look, error: int, step: int = 0) -> None:
        self._look = look
        self.error = error
        self.step = step

    def true(self) -> int:
        [(now,)] = self._look("SELECT extract(epoch FROM clock_timestamp()) * 1000")
        return int(now)

    def now(self) -> int:
        self.error += self.step
        return self.true() + self.error


@pytest.fixture
def lines() -> CapturingLogger:
    return CapturingLogger()


def clock_of(store: Store, own: Clock, lines: CapturingLogger) -> StoreClock:
    log: Any = structlog.wrap_logger(
        lines, processors=[], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    return StoreClock(store.database, own, log)


class TestOnPostgres:
    @pytest.fixture
    def kind(self) -> str:
        return "postgresql"

    @pytest.mark.parametrize("error", [-HOUR, HOUR])
    async def test_a_clock_that_is_wrong_is_corrected_and_logged_once(
        self, store: Store, look: Look, lines: CapturingLogger, error: int
    ) -> None:
        own = Own(look, error)
        clock = clock_of(store, own, lines)
        for _ in range(3):
            before = own.true()
            await clock.correct()
            assert abs(clock.now() - before) < HOUR / 2
        [line] = lines.calls
        assert line.kwargs["event"] == "clock_differs"
        assert abs(line.kwargs["offset_ms"] + error) < HOUR / 2

    async def test_it_is_logged_again_when_it_was_right_in_between(
        self, store: Store, look: Look, lines: CapturingLogger
    ) -> None:
        own = Own(look, HOUR)
        clock = clock_of(store, own, lines)
        for error in (HOUR, 0, -HOUR):
            own.error = error
            await clock.correct()
        assert [call.method_name for call in lines.calls] == ["warning", "warning"]

    @pytest.mark.parametrize("step", [HOUR, -HOUR])
    async def test_a_jump_of_our_own_clock_during_a_reading_changes_nothing(
        self, store: Store, look: Look, lines: CapturingLogger, step: int
    ) -> None:
        own = Own(look, 0)
        clock = clock_of(store, own, lines)
        await clock.correct()
        own.step = step
        own.error = -step  # right before the reading, wrong after it
        await clock.correct()
        own.step = own.error = 0
        assert abs(clock.now() - own.true()) < HOUR / 2
        assert lines.calls == []


class TestOnSqlite:
    @pytest.fixture
    def kind(self) -> str:
        return "sqlite"

    async def test_the_machines_clock_is_the_clock(
        self, store: Store, lines: CapturingLogger
    ) -> None:
        clock = clock_of(store, PlayedClock(wall=42), lines)
        await clock.correct()
        assert clock.now() == 42
        assert lines.calls == []
