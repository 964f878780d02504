"""Joins what is needed to call Assure; a reload that changes it puts another in its place."""

import ssl
from dataclasses import dataclass

from aiohttp import ClientSession
from structlog.typing import FilteringBoundLogger

from reconciler.assure import AssureClient, Endpoint
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.outbound.session import build_session
from reconciler.reconcile.caller import Caller
from reconciler.reconcile.misconfiguration import AssurePath
from reconciler.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class AssureConnection:
    """A caller with the connections that are its own. Its replacer closes ``session``."""

    endpoint: Endpoint
    session: ClientSession
    path: AssurePath
    caller: Caller


def build_connection(
    endpoint: Endpoint,
    tls: ssl.SSLContext,
    *,
    max_concurrency: int,
    budget: Budget,
    breaker: Breaker,
    clock: Clock,
    log: FilteringBoundLogger,
) -> AssureConnection:
    """Return a new connection; nothing is called yet. Must be called on a running loop.

    Budget and breaker are those of the daemon, for they outlive a reload.
    """
    session = build_session(tls, max_concurrency)
    client = AssureClient(endpoint, session, budget, clock, log)
    path = AssurePath(is_proven=False, clock=clock, log=log)
    caller = Caller(client, breaker=breaker, budget=budget, path=path, log=log)
    return AssureConnection(endpoint, session, path, caller)
