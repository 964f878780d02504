"""From the configuration's words to those of each room. No part of it keeps anything."""

import ssl
from pathlib import Path

from aiohttp import ClientSession
from structlog.typing import FilteringBoundLogger

from reconciler.assure import Endpoint
from reconciler.config import Secrets, Settings
from reconciler.delivery.deliverer import Deliverer
from reconciler.delivery.sender import Patience, Sender
from reconciler.delivery.signing import Signer
from reconciler.inbound.tls import server_context
from reconciler.ledger import Backoff
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.transport import Transport
from reconciler.runtime.clock import Clock
from reconciler.store.maintenance.retention import RetentionPeriods
from reconciler.store.outbox import Outbox
from reconciler.store.urls import is_postgres, sqlite_path


def endpoint_of(settings: Settings, secrets: Secrets) -> Endpoint:
    """Return where Assure is, and who we are to it."""
    assure = settings.assure
    return Endpoint(
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


def disks_of(settings: Settings, secrets: Secrets) -> dict[str, Path]:
    """Return a directory on each disk that must have room. PostgreSQL has its own elsewhere."""
    found = {"spool": Path(settings.store.spool).absolute()}
    if not is_postgres(secrets.store_url):
        found["store"] = sqlite_path(secrets.store_url).parent
    return found


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    """Return the public listener's TLS, if it has any. Raises OSError that names the files."""
    tls = settings.listener.tls
    if tls is None:
        return None
    return server_context(tls.certificate, tls.key)


def keep_of(settings: Settings) -> RetentionPeriods:
    """Return for how long what is finished stays."""
    return RetentionPeriods(
        settled=settings.retention.settled, callbacks=settings.retention.callbacks
    )


def deliverer_of(
    settings: Settings,
    secrets: Secrets,
    session: ClientSession,
    outbox: Outbox,
    *,
    owner: str,
    clock: Clock,
    log: FilteringBoundLogger,
) -> Deliverer:
    """Return the outbox worker for the application behind ``delivery.url``."""
    delivery = settings.delivery
    assert delivery is not None
    log = log.bind(target="delivery")
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
    return Deliverer(
        outbox,
        sender,
        breaker=breaker,
        owner=owner,
        max_concurrency=delivery.max_concurrency,
        lease_length=4 * delivery.timeout,
        clock=clock,
        log=log,
    )
