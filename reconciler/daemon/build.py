"""Builds each client's arguments from the configuration. Stateless."""

from pathlib import Path

from structlog.typing import FilteringBoundLogger

from reconciler.assure import Endpoint
from reconciler.config import Configuration
from reconciler.daemon.certificates import Certificates
from reconciler.delivery.client import DeliveryClient, build_delivery_client
from reconciler.delivery.sender import RetryPolicy
from reconciler.ledger import Backoff
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.reconcile.connection import AssureConnection, build_connection
from reconciler.runtime.clock import Clock
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
    *,
    clock: Clock,
    log: FilteringBoundLogger,
) -> DeliveryClient | None:
    """Return the client of your application; None where there is nobody to deliver to."""
    delivery, secrets = configuration.settings.delivery, configuration.secrets
    if delivery is None:
        return None
    waits = delivery.backoff
    backoff = Backoff(waits.initial, waits.factor, waits.max, waits.jitter)
    return build_delivery_client(
        str(delivery.url),
        certificates.trusted["delivery"],
        secrets=secrets.delivery_secret,
        headers=secrets.delivery_headers,
        retry=RetryPolicy(backoff, delivery.give_up_after),
        timeout=delivery.timeout,
        max_concurrency=delivery.max_concurrency,
        proxy=secrets.delivery_proxy or "",
        clock=clock,
        log=log,
    )
