import pytest
import structlog
from structlog.testing import CapturingLogger
from structlog.typing import FilteringBoundLogger

from reconciler.outbound.breaker import Breaker
from tests.clock import PlayedClock


@pytest.fixture
def clock() -> PlayedClock:
    return PlayedClock()


@pytest.fixture
def lines() -> CapturingLogger:
    return CapturingLogger()


@pytest.fixture
def breaker(clock: PlayedClock, lines: CapturingLogger) -> Breaker:
    log: FilteringBoundLogger = structlog.wrap_logger(
        lines, processors=[], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    return Breaker(clock=clock, log=log)


def events(lines: CapturingLogger) -> list[tuple[str, str]]:
    return [(call.method_name, call.kwargs["event"]) for call in lines.calls]


def opened(breaker: Breaker) -> None:
    for number in range(5):
        breaker.failed(f"p{number}", "http_503")
    assert breaker.state == "open"


def probe_fails(breaker: Breaker, clock: PlayedClock, process_id: str) -> None:
    clock.move(breaker.seconds_to_probe())
    assert breaker.allowance() == 1
    breaker.probe_started(process_id)
    breaker.failed(process_id, "timeout")


def test_a_closed_breaker_limits_nothing(breaker: Breaker) -> None:
    assert breaker.state == "closed"
    assert breaker.allowance() is None
    assert breaker.seconds_to_probe() == 0


def test_five_failures_over_different_processes_open_it(
    breaker: Breaker, lines: CapturingLogger
) -> None:
    opened(breaker)

    assert breaker.allowance() == 0
    assert breaker.seconds_to_probe() == 1
    assert [call.kwargs for call in lines.calls] == [
        {"event": "breaker_opened", "reason": "http_503", "probe_in_s": 1.0}
    ]


def test_one_broken_process_never_opens_it(breaker: Breaker) -> None:
    for number in range(100):
        breaker.failed(f"p{number % 4}", "http_403")
    assert breaker.state == "closed"


def test_a_success_starts_the_count_again(breaker: Breaker) -> None:
    for number in range(4):
        breaker.failed(f"p{number}", "timeout")
    breaker.succeeded("p9")
    for number in range(4):
        breaker.failed(f"p{number}", "timeout")
    assert breaker.state == "closed"


def test_a_refused_token_opens_it_at_once(breaker: Breaker) -> None:
    breaker.trip("http_401")
    assert breaker.state == "open"


def test_one_probe_at_a_time_goes_after_the_wait(breaker: Breaker, clock: PlayedClock) -> None:
    opened(breaker)
    clock.move(0.99)
    assert breaker.allowance() == 0
    clock.move(0.01)
    assert breaker.allowance() == 1

    breaker.probe_started("p7")
    assert breaker.state == "probing"
    assert breaker.allowance() == 0
    assert breaker.seconds_to_probe() > 0


def test_each_failed_probe_doubles_the_wait_up_to_a_minute(
    breaker: Breaker, clock: PlayedClock
) -> None:
    opened(breaker)
    waits = []
    for number in range(8):
        waits.append(breaker.seconds_to_probe())
        probe_fails(breaker, clock, f"q{number}")

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert breaker.last_probe == "q7"


def test_a_refused_token_during_a_probe_doubles_the_wait(
    breaker: Breaker, clock: PlayedClock
) -> None:
    breaker.trip("http_401")
    clock.move(1)
    breaker.probe_started("q")
    breaker.trip("http_401")

    assert breaker.seconds_to_probe() == 2
    assert breaker.last_probe == "q"


def test_a_token_refused_before_the_probe_could_start_doubles_the_wait_as_well(
    breaker: Breaker, clock: PlayedClock
) -> None:
    opened(breaker)
    probe_fails(breaker, clock, "q")
    clock.move(2)
    breaker.trip("http_401")

    assert breaker.allowance() == 0
    assert breaker.seconds_to_probe() == 4
    assert breaker.last_probe == "q"


def test_a_refused_token_that_is_told_late_changes_nothing(
    breaker: Breaker, clock: PlayedClock
) -> None:
    opened(breaker)
    clock.move(0.5)
    breaker.trip("http_401")
    assert breaker.seconds_to_probe() == 0.5


def test_a_probe_that_succeeds_closes_it(
    breaker: Breaker, clock: PlayedClock, lines: CapturingLogger
) -> None:
    opened(breaker)
    probe_fails(breaker, clock, "q")
    clock.move(2)
    breaker.probe_started("r")
    breaker.succeeded("r")

    assert breaker.state == "closed"
    assert breaker.allowance() is None
    assert breaker.last_probe is None
    assert lines.calls[-1].kwargs == {"event": "breaker_closed", "open_for_s": 3.0}


def test_after_closing_the_count_and_the_wait_begin_anew(
    breaker: Breaker, clock: PlayedClock
) -> None:
    opened(breaker)
    probe_fails(breaker, clock, "q")
    breaker.succeeded("late")
    breaker.failed("p9", "timeout")
    assert breaker.state == "closed"
    opened(breaker)
    assert breaker.seconds_to_probe() == 1


def test_an_abandoned_probe_says_nothing_and_another_may_follow(
    breaker: Breaker, clock: PlayedClock
) -> None:
    opened(breaker)
    probe_fails(breaker, clock, "q")
    clock.move(2)
    breaker.probe_started("r")
    breaker.probe_abandoned()

    assert breaker.state == "open"
    assert breaker.last_probe == "q"
    assert breaker.allowance() == 0
    assert breaker.seconds_to_probe() == 2


def test_nothing_to_probe_waits_as_long_again(breaker: Breaker, clock: PlayedClock) -> None:
    opened(breaker)
    clock.move(1)
    breaker.probe_abandoned()
    assert breaker.allowance() == 0
    assert breaker.seconds_to_probe() == 1


def test_abandoning_what_is_not_out_changes_nothing(breaker: Breaker, clock: PlayedClock) -> None:
    breaker.probe_abandoned()
    assert breaker.state == "closed"
    opened(breaker)
    clock.move(0.5)
    breaker.probe_abandoned()
    assert breaker.seconds_to_probe() == 0.5


def test_late_failures_of_older_calls_change_nothing(breaker: Breaker, clock: PlayedClock) -> None:
    opened(breaker)
    for number in range(10, 20):
        breaker.failed(f"p{number}", "timeout")
    assert breaker.seconds_to_probe() == 1

    clock.move(1)
    breaker.probe_started("q")
    breaker.failed("p20", "timeout")
    assert breaker.state == "probing"
    breaker.failed("q", "timeout")
    assert breaker.seconds_to_probe() == 2


def test_a_probe_that_starts_after_a_late_success_is_an_ordinary_call(breaker: Breaker) -> None:
    opened(breaker)
    breaker.succeeded("late")
    breaker.probe_started("q")
    assert breaker.state == "closed"


def test_one_opening_is_one_warning_however_many_probes_fail(
    breaker: Breaker, clock: PlayedClock, lines: CapturingLogger
) -> None:
    opened(breaker)
    probe_fails(breaker, clock, "q")
    probe_fails(breaker, clock, "r")
    breaker.succeeded("s")
    breaker.succeeded("t")

    assert events(lines) == [
        ("warning", "breaker_opened"),
        ("debug", "breaker_probe_failed"),
        ("debug", "breaker_probe_failed"),
        ("info", "breaker_closed"),
    ]
