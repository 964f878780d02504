"""lifecycle.md: the floor under every path, and observations that come from the future."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.ledger import (
    Backoff,
    Call,
    Callback,
    CallFailed,
    CallRefused,
    CallThrottled,
    ClockJumpedBack,
    Fetched,
    Idle,
    NotifyAccepted,
    Policy,
    ProcessNotFound,
    Recheck,
    Rules,
    State,
    TrackedProcess,
    Verb,
    decide,
    held_back,
    transition,
)
from reconciler.ledger.policy import DAY, HOUR, MINUTE, SECOND
from tests.clock import NOW
from tests.ledger.life import LEASE, Life, registered

Tell = Callable[..., tuple[TrackedProcess, list[str], str | None]]
MakeCallback = Callable[..., Callback]

FETCH_RESULTS: list[Any] = [
    Fetched(0, "pending"),
    Fetched(0, "in_review"),
    Fetched(0, "accepted"),
    Fetched(0, "rejected"),
    ProcessNotFound(0, path_proven=True),
    ProcessNotFound(0, path_proven=False),
    CallRefused(0, "http_409"),
    CallFailed(0, "http_503"),
    CallThrottled(0, was_made=True),
    None,  # lost: the lease ends without a result
]
NOTIFY_RESULTS: list[Any] = [
    NotifyAccepted(0),
    CallRefused(0, "http_409"),
    CallFailed(0, "timeout"),
    CallThrottled(0, was_made=True),
    None,
]
WORDS = ["accepted", "rejected", "in_review", "pending"]


@dataclass
class Counted(Life):
    """A process that counts its calls."""

    passed: int = 0
    """Milliseconds since the registration, whatever the clock shows."""
    calls: list[int] = field(default_factory=list)
    receipts: int = 0

    def wait(self, span: int) -> None:
        super().wait(span)
        self.passed += span

    def callback(self, status: str, ahead: int) -> None:
        self.receipts += 1
        at = self.now + ahead
        self.observe(Callback(f"r{self.receipts}", "process", "dossier", status, at))

    def follow(self, results: Any) -> None:
        """Make the next call if there is one; else go to the time when something is due."""
        verb = self.step()
        if verb is None:
            return
        self.calls.append(self.passed)
        self.wait(100)
        result = results[verb]
        if result is None:
            self.wait(LEASE)
        else:
            self.observe(replace(result, attempt=self.process.attempt))

    def most_in_an_hour(self, since: int, until: int = 10**15) -> int:
        calls = [at for at in self.calls if since <= at < until]
        return max((sum(at <= other < at + HOUR for other in calls) for at in calls), default=0)


def a_life(rules: Rules | None = None) -> Counted:
    rules = rules or Rules()
    return Counted(registered(rules), rules)


steps = st.tuples(
    st.none() | st.tuples(st.sampled_from(WORDS), st.sampled_from([-DAY, -1, 0, 1, DAY])),
    st.fixed_dictionaries(
        {Verb.FETCH: st.sampled_from(FETCH_RESULTS), Verb.NOTIFY: st.sampled_from(NOTIFY_RESULTS)}
    ),
    st.sampled_from([0, 0, 0, SECOND, MINUTE, HOUR]),
)


@given(st.lists(steps, min_size=1, max_size=8), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_process_is_called_more_often_than_the_limit_whatever_is_observed(
    script: list[Any], confirms: bool
) -> None:
    life = a_life(Rules(default=Policy(confirm_callbacks=confirms)))
    for turn in range(400):
        told, results, wait = script[turn % len(script)]
        if told:
            life.callback(*told)
        life.follow(results)
        life.wait(wait)
    assert life.most_in_an_hour(0) <= 30
    assert life.most_in_an_hour(HOUR) <= 10


@given(st.lists(steps, min_size=1, max_size=6), st.sampled_from([MINUTE, HOUR, DAY]))
@settings(max_examples=50, deadline=None)
def test_a_clock_that_jumps_frees_no_calls(script: list[Any], jump: int) -> None:
    life = a_life()
    for turn in range(300):
        told, results, _ = script[turn % len(script)]
        if told:
            life.callback(*told)
        if turn in (50, 150):
            life.now -= jump
            life.observe(ClockJumpedBack())
        life.follow(results)
    assert life.most_in_an_hour(0) <= 30


@given(st.lists(steps, min_size=1, max_size=6), st.sampled_from([MINUTE, HOUR, DAY]), st.booleans())
@settings(max_examples=50, deadline=None)
def test_a_jump_back_frees_no_calls_of_a_later_hour_whether_it_was_noticed_or_not(
    script: list[Any], jump: int, is_noticed: bool
) -> None:
    life = a_life()
    life.process = replace(life.process, registered_at=NOW - 9 * DAY)
    for turn in range(300):
        told, results, _ = script[turn % len(script)]
        if told:
            life.callback(*told)
        if turn in (50, 150):
            life.now -= jump
            if is_noticed:
                life.observe(ClockJumpedBack())
        life.follow(results)
    assert life.most_in_an_hour(0) <= 10


def test_a_call_of_the_future_uses_up_the_limit_no_longer_than_one_made_now() -> None:
    life = a_life()
    ahead = (NOW + DAY,) * 10
    life.process = replace(life.process, registered_at=NOW - DAY, recent_calls=ahead)
    life.callback("accepted", 0)
    while not life.calls:
        life.follow({Verb.FETCH: Fetched(0, "pending")})
    assert life.passed <= HOUR + SECOND


@pytest.mark.parametrize("result", [Fetched(0, "pending"), ProcessNotFound(0, path_proven=True)])
def test_a_callback_from_the_future_makes_no_call_stale_but_those_begun_before_it(
    result: Fetched | ProcessNotFound,
) -> None:
    """It was spooled before the clock was set back by a day, and drained after."""
    life = a_life()
    life.callback("accepted", DAY)
    assert life.process.callback_at == NOW
    for _ in range(40):
        life.follow({Verb.FETCH: result})
    assert life.most_in_an_hour(0) <= 12


def test_a_row_with_a_callback_in_the_future_counts_it_as_now(rules: Rules) -> None:
    """As an earlier version, or a backup of another clock, has left it."""
    life = a_life()
    life.callback("accepted", 0)
    life.process = replace(life.process, callback_at=NOW + DAY)
    for _ in range(20):
        life.follow({Verb.FETCH: Fetched(0, "pending")})
    assert life.most_in_an_hour(0) <= 12


def test_an_adopted_process_was_not_registered_in_the_future() -> None:
    callback = Callback("r1", "process", "dossier", "accepted", NOW + DAY)
    adopted = transition(None, callback, Rules(), NOW).process
    assert adopted
    assert (adopted.registered_at, adopted.timeout_from, adopted.callback_at) == (NOW,) * 3


def test_a_created_at_of_the_future_is_taken_as_now_from_get_process_too(
    answer: Tell, overdue: TrackedProcess
) -> None:
    at = overdue.state_since
    fetched = Fetched(0, "pending", created_at=at + DAY)
    assert answer(overdue, fetched, at, Verb.FETCH)[0].created_at == at


def test_a_person_is_outside_of_the_limit() -> None:
    life = a_life()
    for _ in range(50):
        life.observe(Recheck(Verb.FETCH, "ann"))
        assert decide(life.process, life.rules, life.now) == Call(Verb.FETCH)
        life.follow({Verb.FETCH: Fetched(0, "pending")})
    assert len(life.calls) == 50
    assert life.process.recent_calls == ()
    life.observe(Recheck(None, "ann"))
    life.follow({Verb.FETCH: Fetched(0, "accepted"), Verb.NOTIFY: NotifyAccepted(0)})
    for _ in range(50):
        life.observe(Recheck(None, "ann"))
        assert decide(life.process, life.rules, life.now) == Call(Verb.FETCH)
        life.follow({Verb.FETCH: Fetched(0, "accepted")})
    assert life.process.state is State.SETTLED


def test_a_call_that_was_not_made_does_not_count() -> None:
    life = a_life()
    life.callback("accepted", 0)
    for _ in range(50):
        life.follow({Verb.FETCH: CallThrottled(0)})
    assert life.process.recent_calls == ()
    assert decide(life.process, life.rules, life.now) == Call(Verb.FETCH)


def test_an_early_look_after_downtime_is_dropped_at_the_limit() -> None:
    life = a_life()
    crowded = replace(
        life.process, registered_at=NOW - DAY, recent_calls=(NOW,) * 10, catch_up=True
    )
    assert decide(crowded, life.rules, NOW) == Idle()
    assert not held_back(crowded, life.rules, NOW).catch_up


def test_who_configures_shorter_waits_has_a_shorter_hour() -> None:
    quick = Policy(backoff=Backoff(initial=10 * SECOND, max=MINUTE, jitter=0.0), give_up_after=DAY)
    life = a_life(Rules(default=quick))
    while life.process.state.is_open:
        life.follow({Verb.FETCH: Fetched(0, "pending"), Verb.NOTIFY: NotifyAccepted(0)})
    assert len(life.calls) >= DAY // MINUTE - 40
