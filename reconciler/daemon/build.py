"""Builds each client's arguments from the configuration. Stateless."""

from pathlib import Path

from structlog.typing import FilteringBoundLogger

from reconciler.assure import Endpoint
from reconciler.config import Configuration
from reconciler.daemon.certificates import Certificates
from reconciler.delivery.deliverer import Deliverer
from reconciler.delivery.outlet import Line
from reconciler.delivery.sender import Patience, Sender
from reconciler.delivery.signing import Signer
from reconciler.ledger import Backoff
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.outbound.session import build_session
from reconciler.outbound.transport import Transport
from reconciler.reconcile.connection import AssureConnection, build_connection
from reconciler.runtime.clock import Clock
from reconciler.store.outbox import Outbox
from reconciler.store.urls import is_postgres, sqlite_path


def disks_of(configuration: Configuration) -> dict[str, Path]:
    """Return a directory on each disk that must have room, by what it holds.

    PostgreSQL has its disks elsewhere.
    """
    found = {"spool": Path(configuration.settings.store.spool).absolute()}
    url = configuration.secrets.store_url
    if not is_postgres(url):
        found["store"] = sqlite_path(url).parent
    return found


def build_assure(
    configuration: Configuration,
    certificates: Certificates,
    *,
    budget: Budget,
    breaker: Breaker,
    clock: Clock,
    log: FilteringBoundLogger,
) -> AssureConnection:
    """Return a client of Assure with connections of its own; the caller closes it."""
    assure, secrets = configuration.settings.assure, configuration.secrets
    endpoint = Endpoint(
        base_url=str(assure.base_url),
        token_url=str(assure.token_url),
        client_id=assure.client_id,
        client_secret=secrets.assure_client_secret or "",
        scope=assure.scope,
        process_path=assure.process_path,
        notify_path=assure.notify_path,
        notify_method=assure.notify_method,
        timeout=assure.timeout / 1000,
        proxy=secrets.assure_proxy or "",
    )
    return build_connection(
        endpoint,
        certificates.trusted["assure"],
        max_concurrency=assure.max_concurrency,
        budget=budget,
        breaker=breaker,
        clock=clock,
        log=log,
    )


def build_delivery(
    configuration: Configuration,
    certificates: Certificates,
    outbox: Outbox,
    *,
    owner: str,
    clock: Clock,
    log: FilteringBoundLogger,
) -> Line:
    """Return the outbox worker for the application, with connections of its own."""
    delivery, secrets = configuration.settings.delivery, configuration.secrets
    assert delivery is not None
    log = log.bind(target="delivery")
    session = build_session(certificates.trusted["delivery"], delivery.max_concurrency)
    breaker = Breaker(clock=clock, log=log)
    transport = Transport(
        session,
        log,
        clock=clock,
        timeout=delivery.timeout / 1000,
        proxy=secrets.delivery_proxy or "",
    )
    waits = delivery.backoff
    backoff = Backoff(waits.initial, waits.factor, waits.max, waits.jitter)
    sender = Sender(
        str(delivery.url),
        transport,
        Signer(secrets.delivery_secret, secrets.delivery_headers),
        patience=Patience(backoff, delivery.give_up_after),
        breaker=breaker,
        clock=clock,
        log=log,
    )
    deliverer = Deliverer(
        outbox,
        sender,
        breaker=breaker,
        owner=owner,
        max_concurrency=delivery.max_concurrency,
        lease_length=4 * delivery.timeout,
        clock=clock,
        log=log,
    )
    return Line(deliverer, session)
