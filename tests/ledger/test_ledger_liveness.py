"""Every process ends in time, whatever Assure answers to the calls of ``decide``."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.ledger import (
    Backoff,
    Call,
    Callback,
    CallFailed,
    CallRefused,
    CallThrottled,
    Fetched,
    NotifyAccepted,
    Observation,
    Policy,
    ProcessNotFound,
    Recheck,
    Rules,
    State,
    Verb,
    decide,
    lease,
)
from reconciler.ledger.policy import DAY, HOUR, MINUTE, SECOND
from tests.clock import NOW
from tests.ledger.life import LADDERS, LEASE, Life, registered

NOTIFY, FETCH = Verb.NOTIFY, Verb.FETCH
RETRY_AFTER = MINUTE

policies = st.builds(
    Policy,
    callback_timeout=st.integers(0, 2 * HOUR),
    ladder=st.sampled_from(LADDERS),
    notify_grace=st.integers(0, 10 * MINUTE),
    confirm_callbacks=st.booleans(),
    backoff=st.builds(
        Backoff,
        initial=st.integers(2 * MINUTE, 10 * MINUTE),
        factor=st.sampled_from([1.0, 2.0, 3.0]),
        max=st.integers(10 * MINUTE, HOUR),
        jitter=st.floats(0, 1),
    ),
    give_up_after=st.integers(0, DAY),
)
answers = st.sampled_from(["lost", "throttled", "failed", "refused", "pending", "404", "suspect"])
spent = answers.filter(lambda answer: answer not in ("lost", "throttled"))


@dataclass(kw_only=True)
class Run(Life):
    """A process whose calls get the answers of ``script``, repeatedly."""

    script: Iterator[str]
    steps: int = 0

    def follow(self) -> None:
        """Do the next thing, a call with its answer."""
        self.steps += 1
        verb = self.step()
        if verb is not None:
            self.answer(verb)

    def answer(self, verb: Verb) -> None:
        answer, attempt = next(self.script), self.process.attempt
        if answer == "lost":
            return
        if answer == "throttled":
            self.observe(CallThrottled(attempt))
            self.now += RETRY_AFTER
            return
        result: Observation = CallFailed(attempt, "timeout")
        if verb is NOTIFY and answer != "failed":
            is_refused = answer in ("refused", "404")
            result = CallRefused(attempt, "http_409") if is_refused else NotifyAccepted(attempt)
        elif answer == "refused":
            result = CallRefused(attempt, "http_400")
        elif answer == "pending":
            result = Fetched(attempt, "pending")
        elif answer in ("404", "suspect"):
            result = ProcessNotFound(attempt, path_proven=answer == "404")
        self.observe(result)


def longest(policy: Policy, script: list[str]) -> int:
    """Return how long two rounds may last, with the wait before each."""
    idle = max(policy.callback_timeout, policy.backoff.max * 2, policy.notify_grace)
    a_call = policy.backoff.initial + len(script) * (LEASE + RETRY_AFTER)
    a_round = len(policy.ladder) * (4 * a_call + policy.notify_grace)
    return 2 * (idle + a_round) + HOUR  # once more when it has been called too often


@given(policies, st.lists(answers, max_size=6), spent, st.integers(0, 2 * DAY))
@settings(max_examples=150, deadline=None)
def test_every_process_ends_soon_after_it_is_given_up(
    policy: Policy, before: list[str], last: str, age: int
) -> None:
    rules, start = Rules(default=policy), NOW
    script = [*before, last]
    run = Run(registered(rules, start - age), rules, script=cycle(script))
    at_once, then = 0, run.now
    while run.process.state.is_open:
        run.follow()
        at_once = 0 if run.now > then else at_once + 1
        then = run.now
        assert at_once <= 2 * len(policy.ladder) + 2, "calls without a pause"
        assert run.now <= start + policy.give_up_after + longest(policy, script)
    assert run.process.state in (State.GONE, State.EXPIRED)
    assert run.process.next_check_at is None
    if run.process.state is State.EXPIRED:
        assert run.now >= start + policy.give_up_after


disturbances = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.one_of(
            st.sampled_from(["accepted", "rejected", "pending", "weird"]),
            st.sampled_from([None, NOTIFY, FETCH]).map(lambda verb: Recheck(verb, "ann")),
        ),
    ),
    max_size=6,
)


@given(policies, st.lists(answers, max_size=4), spent, disturbances)
@settings(max_examples=150, deadline=None)
def test_every_process_ends_although_callbacks_and_people_come_in_between(
    policy: Policy, before: list[str], last: str, disturbed: list[tuple[int, Any]]
) -> None:
    rules, start = Rules(default=policy), NOW
    script = [*before, last]
    run = Run(registered(rules), rules, script=cycle(script))
    left = dict(disturbed)
    reach = policy.give_up_after + (len(left) + 1) * longest(policy, script)
    until = start + reach
    while run.process.next_check_at is not None:
        what = left.pop(run.steps, None)
        if isinstance(what, Recheck):
            run.observe(what)
        elif what:
            receipt = f"receipt-{run.steps}"
            held = lease(run.process, FETCH, "one", run.now, LEASE)
            run.process, run.now = held, run.now + SECOND
            run.observe(Callback(receipt, "process", "dossier", what, run.now))
            run.answer(FETCH)
        if what and not run.process.state.is_open:
            until = run.now + reach  # a verification lapses on its own account
        if run.process.next_check_at is not None:
            run.follow()
        assert run.now <= until
    assert not run.process.state.is_open


@given(policies, st.lists(answers, max_size=6), st.sampled_from(["accepted", "rejected"]))
@settings(max_examples=50, deadline=None)
def test_a_claim_is_confirmed_by_the_first_answer_that_agrees(
    policy: Policy, before: list[str], status: str
) -> None:
    rules = Rules(default=replace(policy, confirm_callbacks=True, give_up_after=14 * DAY))
    run = Run(registered(rules), rules, script=iter(before))
    run.observe(Callback("receipt", "process", "dossier", status, NOW))
    while True:
        decision = decide(run.process, rules, run.now)
        if not run.process.state.is_open:
            assert run.process.state is State.GONE
            return
        if isinstance(decision, Call):
            assert decision.verb is FETCH
            try:
                run.follow()
            except StopIteration:
                break
        else:
            run.follow()
    run.observe(Fetched(run.process.attempt, status))
    assert (run.process.state, run.process.status) == (State.SETTLED, status)
