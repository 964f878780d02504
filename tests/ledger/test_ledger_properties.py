"""Properties of the ledger under random observations, in any order, and random policies."""

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reconciler.ledger import (
    Backoff,
    Call,
    Callback,
    CallFailed,
    CallRefused,
    CallThrottled,
    ClockJumpedBack,
    Entry,
    Fetched,
    Idle,
    Lane,
    NotifyAccepted,
    Observation,
    Outcome,
    Policy,
    ProcessNotFound,
    Recheck,
    Registration,
    Rules,
    State,
    TimePassed,
    TrackedProcess,
    TurnOverdue,
    Verb,
    decide,
    held_back,
    lease,
    transition,
)
from reconciler.ledger.policy import DAY, HOUR, MINUTE, SECOND, same_status
from tests.ledger.life import LADDERS

NOTIFY, FETCH = Verb.NOTIFY, Verb.FETCH
TERMINAL = (State.SETTLED, State.GONE, State.EXPIRED)

policies = st.builds(
    Policy,
    callback_timeout=st.sampled_from([SECOND, 15 * MINUTE, 3 * DAY]),
    ladder=st.sampled_from(LADDERS),
    notify_grace=st.sampled_from([SECOND, 2 * MINUTE, 2 * HOUR]),
    confirm_callbacks=st.booleans(),
    backoff=st.builds(
        Backoff,
        initial=st.sampled_from([10 * SECOND, 5 * MINUTE]),
        factor=st.sampled_from([1.0, 2.0]),
        max=st.sampled_from([5 * MINUTE, HOUR]),
        jitter=st.sampled_from([0.0, 0.1, 1.0]),
    ),
    give_up_after=st.sampled_from([0, HOUR, 14 * DAY]),
)
statuses = st.sampled_from(["accepted", "Accepted", "rejected", "PENDING", "weird", "Weird"])
dossiers = st.sampled_from(["dossier", "dossier", "dossier", "other"])
providers = st.sampled_from([None, "onfido", "ReadID"])
spans = st.sampled_from([1, SECOND, MINUTE, 5 * MINUTE, HOUR, DAY, 15 * DAY])
verbs = st.sampled_from([None, NOTIFY, FETCH])
fetch_results = st.one_of(
    st.builds(Fetched, st.just(0), statuses, st.booleans(), providers),
    st.builds(ProcessNotFound, st.just(0), st.booleans()),
    st.sampled_from([CallRefused(0, "http_400"), CallFailed(0, "timeout"), CallThrottled(0)]),
)
notify_results = st.sampled_from(
    [NotifyAccepted(0), CallRefused(0, "http_404"), CallFailed(0, "timeout"), CallThrottled(0)]
)
LOGGED_EACH_TIME = {"callback_mismatch", "callback_unmatched", "result_dropped", "operator_action"}


class OneProcess(RuleBasedStateMachine):
    """One process, all observations, and the promises of lifecycle.md at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.rulebook = Rules()
        self.now = 1_800_000_000_000
        self.process: TrackedProcess | None = None
        self.receipts = 0
        self.exists = False
        """Whether Get process has answered 200 about this row."""
        self.claimed_in_lease = False

    @initialize(default=policies, readid=policies, adopt=st.booleans())
    def configure(self, default: Policy, readid: Policy, adopt: bool) -> None:
        self.rulebook = Rules(default=default, providers={"readid": readid}, adopt_unknown=adopt)

    def observe(self, observation: Observation) -> None:
        before = self.process
        outcome = transition(before, observation, self.rulebook, self.now)
        self.check_twice(observation, outcome)
        after = outcome.process
        if after is None:
            assert before is None
            assert outcome.delivery is None
            return
        restarted = before is not None and before.dossier_id != after.dossier_id
        if before is None or restarted:
            assert isinstance(observation, Registration | Callback)
            assert after.adopted == isinstance(observation, Callback)
            self.exists = False
            self.check_delivery(None, outcome, after)
        else:
            self.check_step(before, observation, outcome, after)
            self.check_delivery(before, outcome, after)
        self.process = after

    def check_twice(self, observation: Observation, outcome: Outcome) -> None:
        is_instant = isinstance(observation, TimePassed | ClockJumpedBack)
        later = self.now if is_instant else self.now + 3 * HOUR
        if isinstance(observation, Recheck):
            later = self.now
        again = transition(outcome.process, observation, self.rulebook, later)
        assert again.process == outcome.process
        assert again.delivery is None
        assert {entry.event for entry in again.entries} <= LOGGED_EACH_TIME

    def check_step(
        self, before: TrackedProcess, seen: Observation, outcome: Outcome, after: TrackedProcess
    ) -> None:
        events = {entry.event for entry in outcome.entries}
        is_mine = getattr(seen, "attempt", before.attempt) == before.attempt
        if isinstance(seen, Callback):
            assert (after.lease, after.attempt) == (before.lease, before.attempt)
            if seen.dossier_id != before.dossier_id:
                assert (after, outcome.entries) == (
                    before,
                    (Entry("callback_mismatch", {"status": seen.status}),),
                )
            policy = self.rulebook.policy(before.provider)
            if policy.confirm_callbacks or not before.state.is_open:
                assert after.status == before.status
        if not is_mine:
            assert after == before
            assert len(outcome.entries) == 1
        if isinstance(seen, Fetched) and is_mine:
            self.exists = True
        changed = (before.state, after.state)
        if after.state is not before.state:
            assert after.state_since == self.now
            assert not isinstance(seen, Registration | Recheck | CallThrottled | ClockJumpedBack)
            if isinstance(seen, TimePassed):
                assert changed == (State.WAITING, State.OVERDUE)
            if after.state is State.GONE:
                assert isinstance(seen, ProcessNotFound)
                assert seen.path_proven
            if after.state is State.EXPIRED:
                policy = self.rulebook.policy(after.provider)
                assert self.now >= before.registered_at + policy.give_up_after
                assert after.round > 0
                assert after.claimed_status == before.claimed_status
            assert before.state not in TERMINAL or after.state is State.SETTLED
            self.check_word(before, seen, after)
        if before.state in TERMINAL and after.status != before.status:
            assert isinstance(seen, Fetched)
            assert after.status == seen.status
            assert after.revision == before.revision + 1
        else:
            assert after.revision == before.revision
        if isinstance(seen, Fetched | ProcessNotFound) and is_mine and self.claimed_in_lease:
            self.check_not_refuted(before, seen, after)
        assert ("process_settled" in events or "process_corrected" in events) == (
            after.status != before.status
        )

    def check_word(self, before: TrackedProcess, seen: Observation, after: TrackedProcess) -> None:
        """A word in no list, without a result, settles only what has stood for an hour."""
        if after.state is not State.SETTLED or not isinstance(seen, Fetched):
            return
        assert not self.rulebook.is_pending(seen.status)
        if self.rulebook.is_unknown(seen.status) and not seen.has_final_result:
            assert before.state is State.REPORTED
            assert same_status(seen.status, before.claimed_status)
            assert before.unknown_since is not None
            assert self.now >= before.unknown_since + HOUR
            assert before.unknown_looks >= 2

    def check_not_refuted(
        self, before: TrackedProcess, seen: Fetched | ProcessNotFound, after: TrackedProcess
    ) -> None:
        if isinstance(seen, Fetched) and same_status(seen.status, before.claimed_status):
            return
        assert (after.state, after.status) == (before.state, before.status)
        if before.next_check_at is not None:
            assert after.next_check_at is not None
            assert after.next_check_at <= self.now

    def check_delivery(
        self, before: TrackedProcess | None, outcome: Outcome, after: TrackedProcess
    ) -> None:
        expected = None
        if before is None:
            expected = "process.settled" if after.state is State.SETTLED else None
        elif after.status != before.status:
            was_settled = before.state is State.SETTLED
            expected = "process.corrected" if was_settled else "process.settled"
        elif after.state is not before.state and after.state is State.EXPIRED:
            expected = "process.expired"
        elif after.state is not before.state and after.state is State.GONE:
            expected = "process.gone" if self.exists or not before.adopted else None
        assert (outcome.delivery.type if outcome.delivery else None) == expected

    @rule(dossier=dossiers, provider=providers, ago=st.none() | st.integers(-HOUR, DAY))
    def register(self, dossier: str, provider: str | None, ago: int | None) -> None:
        created_at = None if ago is None else self.now - ago
        self.observe(Registration("process", dossier, provider, created_at=created_at))

    @rule(status=statuses, dossier=dossiers, late=st.sampled_from([0, 0, 1, MINUTE, DAY]))
    def receive(self, status: str, dossier: str, late: int) -> None:
        self.receipts += 1
        before = self.process
        callback = Callback(f"r{self.receipts}", "process", dossier, status, self.now - late)
        self.observe(callback)
        held = self.process.lease if self.process else None
        is_claim = before and self.process and self.process.callback_at != before.callback_at
        if held and is_claim and callback.received_at > held.begun_at:
            self.claimed_in_lease = True

    @rule(span=spans)
    def wait(self, span: int) -> None:
        self.now += span

    @rule()
    def wait_until_due(self) -> None:
        if self.process and self.process.next_check_at:
            self.now = max(self.now, self.process.next_check_at)

    @rule(back=spans)
    def jump_back(self, back: int) -> None:
        self.now -= back
        self.claimed_in_lease = False  # nobody can tell any more which came first
        self.observe(ClockJumpedBack())

    @rule()
    def look(self) -> None:
        self.observe(TimePassed())

    @rule()
    @precondition(lambda self: self.process is not None)
    def follow(self) -> None:
        assert self.process
        decision = decide(self.process, self.rulebook, self.now)
        if isinstance(decision, TurnOverdue):
            self.observe(TimePassed())
            assert self.process.state is State.OVERDUE
        elif isinstance(decision, Call):
            self.process = lease(self.process, decision.verb, "one", self.now, MINUTE)
            self.claimed_in_lease = False

    @rule(data=st.data(), took=st.sampled_from([0, SECOND, HOUR]))
    @precondition(lambda self: self.process is not None and self.process.lease is not None)
    def finish(self, data: st.DataObject, took: int) -> None:
        assert self.process
        assert self.process.lease
        self.now += took
        is_notify = self.process.lease.verb is NOTIFY
        result: Any = data.draw(notify_results if is_notify else fetch_results)
        self.observe(replace(result, attempt=self.process.attempt))
        assert self.process.lease is None

    @rule(result=fetch_results, other=st.sampled_from([-1, 1, 2]))
    @precondition(lambda self: self.process is not None)
    def finish_what_was_lost(self, result: Any, other: int) -> None:
        assert self.process
        self.observe(replace(result, attempt=self.process.attempt + other))

    @rule(verb=verbs)
    def recheck(self, verb: Verb | None) -> None:
        self.observe(Recheck(verb, "ann"))

    @rule()
    def find_downtime(self) -> None:
        if self.process and self.process.state is State.WAITING:
            self.process = replace(self.process, catch_up=True)

    @invariant()
    def the_row_is_sound(self) -> None:
        row = self.process
        if row is None:
            return
        assert (row.status is not None) == (row.state is State.SETTLED)
        assert (row.settled_by is not None) == (row.settled_at is not None)
        assert (row.settled_by is not None) == (row.state is State.SETTLED)
        assert (row.next_check_at is not None) == (
            row.state.is_open or row.verify_since is not None
        )
        assert not (row.state.is_open and row.verify_since)
        if row.state is State.REPORTED:
            assert row.claimed_status
            assert row.callback_at is not None
        if row.next_check_at is None:
            assert row.asked is None
            assert row.lane is None
        elif row.state in (State.WAITING, State.OVERDUE):
            assert row.lane in (Lane.ASKED, Lane.OVERDUE, Lane.CATCH_UP, Lane.WAITING)
        else:
            assert row.lane is Lane.CONFIRM

    @invariant()
    def nothing_waits_longer_than_it_ever_may(self) -> None:
        if self.process is None or self.process.next_check_at is None:
            return
        longest = max(
            max(
                policy.callback_timeout,
                policy.notify_grace,
                policy.backoff.initial,
                round(policy.backoff.max * (1 + policy.backoff.jitter)),
            )
            for policy in (self.rulebook.default, *self.rulebook.providers.values())
        )
        if not self.process.state.is_open:
            longest = max(longest, DAY)  # settled with a status in no list: verified a day later
        assert self.process.next_check_at <= self.now + longest

    @invariant()
    def what_is_due_and_free_is_never_left_alone(self) -> None:
        row = self.process
        if row is None:
            return
        decision = decide(row, self.rulebook, self.now)
        if row.next_check_at is None or (row.lease and row.lease.until > self.now):
            assert decision == Idle()
        elif held_back(row, self.rulebook, self.now) != row:  # results of its calls were lost
            assert decision in (Idle(), TurnOverdue())
        elif row.next_check_at <= self.now:
            assert decision != Idle()
        else:
            assert decision == Idle() or row.catch_up
        if isinstance(decision, Call) and decision.verb is NOTIFY and not row.asked:
            assert row.state is State.OVERDUE
            assert not row.pending_seen
            assert row.missing_at is None


OneProcess.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, print_blob=True
)
TestOneProcess = OneProcess.TestCase
