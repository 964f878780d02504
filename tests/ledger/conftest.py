"""A process in each state, and helpers that observe. All of them go through ``transition``.

Each process stands at the moment when it came into its state: ``state_since`` is its *now*.
The default policy has no jitter here, so that due times can be compared to the millisecond.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest

from reconciler.ledger import (
    Backoff,
    Call,
    Callback,
    CallFailed,
    CallRefused,
    Fetched,
    NotifyAccepted,
    Observation,
    Policy,
    ProcessNotFound,
    Registration,
    Rules,
    TimePassed,
    TrackedProcess,
    Verb,
    decide,
    lease,
    transition,
)
from reconciler.ledger.policy import HOUR, MINUTE, SECOND
from tests.clock import NOW

LEASE = 40 * SECOND

Told = tuple[TrackedProcess, list[str], str | None]
Result = NotifyAccepted | Fetched | ProcessNotFound | CallRefused | CallFailed


@pytest.fixture
def rules() -> Rules:
    exact = Policy(backoff=Backoff(jitter=0.0))
    readid = Policy(
        callback_timeout=5 * MINUTE, backoff=Backoff(initial=MINUTE, max=HOUR, jitter=0.0)
    )
    return Rules(default=exact, providers={"readid": readid})


@pytest.fixture
def trusting(rules: Rules) -> Rules:
    return replace(rules, default=replace(rules.default, confirm_callbacks=False))


@pytest.fixture
def tell(rules: Rules) -> Callable[..., Told]:
    """Apply an observation; return the process, its events and the type of its delivery."""

    def tell(
        process: TrackedProcess | None, observation: Observation, at: int, rules: Rules = rules
    ) -> Told:
        outcome = transition(process, observation, rules, at)
        assert outcome.process is not None
        delivery = outcome.delivery.type if outcome.delivery else None
        return outcome.process, [entry.event for entry in outcome.entries], delivery

    return tell


@pytest.fixture
def answer(rules: Rules, tell: Callable[..., Told]) -> Callable[..., Told]:
    """Make the next call (or ``verb``) at ``at``, with ``result`` at once."""

    def answer(
        process: TrackedProcess,
        result: Result,
        at: int,
        verb: Verb | None = None,
        rules: Rules = rules,
    ) -> Told:
        if verb is None:
            decision = decide(process, rules, at)
            assert isinstance(decision, Call), decision
            verb = decision.verb
        held = lease(process, verb, "one", at, LEASE)
        return tell(held, replace(result, attempt=held.attempt), at, rules)

    return answer


@pytest.fixture
def callback() -> Callable[..., Callback]:
    """Build a callback with a new receipt."""
    receipts = count(1)

    def callback(status: str, at: int, dossier_id: str = "dossier") -> Callback:
        return Callback(f"receipt-{next(receipts)}", "process", dossier_id, status, at)

    return callback


@pytest.fixture
def waiting(tell: Callable[..., Told]) -> TrackedProcess:
    return tell(None, Registration("process", "dossier"), NOW)[0]


@pytest.fixture
def overdue(waiting: TrackedProcess, tell: Callable[..., Told]) -> TrackedProcess:
    assert waiting.next_check_at is not None
    return tell(waiting, TimePassed(), waiting.next_check_at)[0]


@pytest.fixture
def reported(
    waiting: TrackedProcess, tell: Callable[..., Told], callback: Callable[..., Callback]
) -> TrackedProcess:
    """Claimed to be accepted."""
    at = waiting.state_since + MINUTE
    return tell(waiting, callback("accepted", at), at)[0]


@pytest.fixture
def settled(reported: TrackedProcess, answer: Callable[..., Told]) -> TrackedProcess:
    """Accepted, by a callback."""
    return answer(reported, Fetched(0, "accepted"), reported.state_since + SECOND)[0]


@pytest.fixture
def gone(overdue: TrackedProcess, answer: Callable[..., Told]) -> TrackedProcess:
    not_found = ProcessNotFound(0, path_proven=True)
    once, _, _ = answer(overdue, not_found, overdue.state_since, Verb.FETCH)
    return answer(once, not_found, once.next_check_at)[0]


@pytest.fixture
def expired(overdue: TrackedProcess, answer: Callable[..., Told], rules: Rules) -> TrackedProcess:
    at = overdue.registered_at + rules.default.give_up_after
    return answer(overdue, Fetched(0, "pending"), at, Verb.FETCH)[0]


@pytest.fixture(params=["waiting", "overdue", "reported"])
def open_process(request: pytest.FixtureRequest) -> TrackedProcess:
    """Each of the open states in turn."""
    process: TrackedProcess = request.getfixturevalue(request.param)
    return process


@pytest.fixture(params=["settled", "gone", "expired"])
def terminal(request: pytest.FixtureRequest) -> TrackedProcess:
    """Each of the terminal states in turn."""
    process: TrackedProcess = request.getfixturevalue(request.param)
    return process


@pytest.fixture(params=["waiting", "overdue", "reported", "settled", "gone", "expired"])
def any_process(request: pytest.FixtureRequest) -> TrackedProcess:
    """Every state in turn."""
    process: TrackedProcess = request.getfixturevalue(request.param)
    return process
