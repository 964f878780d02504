"""Builds the parts of this room, joined as a daemon has them."""

from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from reconciler.config import InForce
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.reconcile.assure_connection import AssureConnection
from reconciler.reconcile.clock_jump import ClockMender
from reconciler.reconcile.overdue import OverdueChecker
from reconciler.reconcile.recorder import Recorder
from reconciler.reconcile.sweeper import Sweeper
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.outbox import Outbox
from reconciler.store.work_queue import WorkQueue


@dataclass(frozen=True, slots=True)
class Reconcile:
    """The parts of one daemon that ask Assure. The recorder stops after the sweeper."""

    sweeper: Sweeper
    recorder: Recorder
    overdue: OverdueChecker
    clock_mender: ClockMender


def build_reconcile(
    work: WorkQueue,
    outbox: Outbox,
    assure: Current[AssureConnection],
    current: Current[InForce],
    *,
    due: Bell,
    news: Bell,
    budget: Budget,
    breaker: Breaker,
    owner: str,
    clock: Clock,
    log: FilteringBoundLogger,
) -> Reconcile:
    """Return the parts; nothing runs yet.

    ``due`` wakes the sweeper. ``news`` is rung when there may be something to deliver. ``owner``:
    in whose name processes and deliveries are leased.
    """
    recorder = Recorder(work, current, due=due, news=news, clock=clock, log=log)
    sweeper = Sweeper(
        work,
        recorder,
        assure,
        current,
        due=due,
        budget=budget,
        breaker=breaker,
        owner=owner,
        clock=clock,
        log=log,
    )
    overdue = OverdueChecker(work, current, due=due, clock=clock, log=log)
    mender = ClockMender(work, outbox, current, owner=owner, clock=clock, log=log)
    return Reconcile(sweeper, recorder, overdue, mender)
