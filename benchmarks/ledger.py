"""``ledger`` compares the pure core with ``dataclasses.replace``, a claim with a plain SELECT."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import select

from benchmarks.figures import Figure, ratio
from benchmarks.workspace import Workspace, now
from reconciler.ledger import (
    Callback,
    Fetched,
    Lane,
    NotifyAccepted,
    Registration,
    Rules,
    State,
    TimePassed,
    TrackedProcess,
    Verb,
    lease,
    transition,
)
from reconciler.ledger.policy import DAY
from reconciler.store.open import Store, open_store
from reconciler.store.schema import processes

CLAIM = 100
"""Processes in one claim."""

LEASE = 40_000
"""Milliseconds, as the daemon's by default."""

TRANSITIONS = 5
"""In the life that is played: registered, overdue, asked for, reported, settled."""

_OVERDUE = "UPDATE processes SET state = ?, lane = ?, next_check_at = registered_at"
_SAME_ROWS = (
    select(processes)
    .where(processes.c.lane == Lane.OVERDUE, processes.c.next_check_at.is_not(None))
    .order_by(processes.c.next_check_at)
    .limit(CLAIM)
)


@dataclass(frozen=True, slots=True)
class _Size:
    rounds: int
    lives: int
    processes: int
    claims: int
    """In one round; each is followed by its SELECT."""


FULL, QUICK = _Size(9, 2_000, 100_000, 10), _Size(1, 20, 200, 1)


async def measure(workspace: Workspace, *, quick: bool) -> list[Figure]:
    """Take both pairs in turn."""
    size = QUICK if quick else FULL
    core = []
    for run in range(size.rounds):
        workspace.say(f"transitions {run + 1} of {size.rounds}")
        core.append((_lives(size.lives) / TRANSITIONS, _replacements(size.lives)))
    place = await workspace.place(size.processes)
    place.write(_OVERDUE, str(State.OVERDUE), int(Lane.OVERDUE))
    workspace.say(f"claims from {size.processes:,} overdue processes")
    store = await open_store(f"sqlite:///{place.store}", is_daemon=True)
    try:
        claims = [await _claims(store, run, size.claims) for run in range(-1, size.rounds)]
    finally:
        await store.database.close()
    return [
        ratio("time of a transition ÷ one dataclasses.replace", core),
        ratio(f"time of a claim of {CLAIM} of {size.processes:,} ÷ plain SELECT", claims[1:]),
    ]


def _lives(count: int) -> float:
    rules = Rules()
    return _timed(lambda: [_life(rules) for _ in range(count)])


def _life(rules: Rules) -> TrackedProcess:
    at = 1_700_000_000_000
    process = _after(None, Registration("process", "dossier", "onfido"), rules, at)
    at += DAY
    process = _after(process, TimePassed(), rules, at)
    process = lease(process, Verb.NOTIFY, "owner", at, LEASE)
    process = _after(process, NotifyAccepted(process.attempt), rules, at)
    came = Callback("receipt", "process", "dossier", "accepted", at)
    process = _after(process, came, rules, at)
    process = lease(process, Verb.FETCH, "owner", at, LEASE)
    return _after(process, Fetched(process.attempt, "accepted", True), rules, at)


def _after(
    process: TrackedProcess | None,
    observation: Registration | TimePassed | NotifyAccepted | Callback | Fetched,
    rules: Rules,
    at: int,
) -> TrackedProcess:
    after = transition(process, observation, rules, at).process
    assert after is not None
    return after


def _replacements(count: int) -> float:
    row = _life(Rules())
    return _timed(lambda: [replace(row, scheduled_at=at) for at in range(count)])


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


async def _claims(store: Store, run: int, count: int) -> tuple[float, float]:
    """Claim the rows that come first, and read them, in turn; earlier leases are over each time."""
    ours = plain = 0.0
    for turn in range(count):
        at = now() + ((run + 1) * count + turn) * 2 * LEASE
        lanes = (Lane.CONFIRM, Lane.OVERDUE)
        begun = time.perf_counter()
        claimed = await store.work.claim(
            lanes, CLAIM, owner="benchmark", rules=Rules(), now=at, length=LEASE
        )
        ours += time.perf_counter() - begun
        assert len(claimed) == CLAIM
        begun = time.perf_counter()
        async with store.database.read() as connection:
            rows = (await connection.execute(_SAME_ROWS)).mappings().all()
        plain += time.perf_counter() - begun
        assert {row["process_id"] for row in rows} == {process.process_id for process in claimed}
    return ours, plain
