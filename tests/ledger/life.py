"""One process that lives by ``decide``: its calls are made as soon as the ledger wants one."""

from dataclasses import dataclass, field

from reconciler.ledger import (
    Call,
    Observation,
    Registration,
    Rules,
    TimePassed,
    TrackedProcess,
    TurnOverdue,
    Verb,
    decide,
    held_back,
    lease,
    of_the_past,
    transition,
)
from reconciler.ledger.policy import MINUTE, SECOND
from tests.clock import NOW

LEASE = 40 * SECOND
LADDERS = [
    (Verb.NOTIFY, Verb.FETCH),
    (Verb.FETCH,),
    (Verb.NOTIFY,),
    (Verb.FETCH, Verb.NOTIFY),
    (Verb.NOTIFY, Verb.NOTIFY, Verb.FETCH),
]


def registered(rules: Rules, created_at: int | None = None) -> TrackedProcess:
    """Return a process that was registered at ``NOW``."""
    registration = Registration("process", "dossier", created_at=created_at)
    process = transition(None, registration, rules, NOW).process
    assert process
    return process


@dataclass
class Life:
    """The process, and the clock that shows ``now``."""

    process: TrackedProcess
    rules: Rules = field(default_factory=Rules)
    now: int = NOW

    def observe(self, observation: Observation) -> None:
        after = transition(self.process, observation, self.rules, self.now).process
        assert after is not None
        self.process = after

    def wait(self, span: int) -> None:
        self.now += span

    def step(self) -> Verb | None:
        """Do the next thing: return the call to make, under its lease, or let time pass."""
        self.process = of_the_past(self.process, self.now)  # as the store does with each claim
        decision = decide(self.process, self.rules, self.now)
        if isinstance(decision, TurnOverdue):
            self.observe(TimePassed())
        elif isinstance(decision, Call):
            self.process = lease(self.process, decision.verb, "one", self.now, LEASE)
            return decision.verb
        else:
            self.process = held_back(self.process, self.rules, self.now)
            due, held = self.process.next_check_at, self.process.lease
            until = max(due or self.now + MINUTE, held.until if held else 0)
            assert until > self.now, "due, and not called"
            self.wait(until - self.now)
        return None
