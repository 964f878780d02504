"""Builds the parts that take callbacks in."""

import ssl
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from reconciler.config import InForce
from reconciler.inbound.applier import Applier
from reconciler.inbound.drain import Drain
from reconciler.inbound.group_commit import Intake
from reconciler.inbound.inbox_writer import InboxWriter
from reconciler.inbound.limits import LIMITS, Limits
from reconciler.inbound.listener import Listener
from reconciler.inbound.spool import Spool
from reconciler.inbound.spool_check import SpoolCheck
from reconciler.inbound.spool_writer import SpoolWriter
from reconciler.inbound.stored_receipts import StoredReceipts
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.inbox import Inbox


@dataclass(frozen=True, slots=True)
class Inbound:
    """The parts in the order in which they stop, and the two things between them."""

    listener: Listener
    intake: Intake
    drain: Drain
    applier: Applier
    stored: StoredReceipts
    spool_check: SpoolCheck
    spool: Spool
    """To be closed after the parts have ended."""


def build_inbound(
    inbox: Inbox,
    spool: Spool,
    current: Current[InForce],
    tls: Current[ssl.SSLContext | None],
    *,
    due: Bell,
    news: Bell,
    clock: Clock,
    log: FilteringBoundLogger,
    limits: Limits = LIMITS,
) -> Inbound:
    """Return the parts; none of them runs yet. Needs a running loop."""
    stored = StoredReceipts(clock)
    inbox_writer = InboxWriter(inbox, spool, stored, clock=clock, log=log)
    spool_writer = SpoolWriter(spool, log)
    intake = Intake(inbox_writer, spool_writer, stored, limits=limits, clock=clock, log=log)
    return Inbound(
        listener=Listener(intake, current, tls, limits=limits, clock=clock, log=log),
        intake=intake,
        drain=Drain(spool, spool_writer, inbox_writer, limits=limits, log=log),
        applier=Applier(inbox, stored, current, due=due, news=news, clock=clock, log=log),
        stored=stored,
        spool_check=SpoolCheck(spool, log),
        spool=spool,
    )
