"""What others look at beside the log: the admin listener with all its routes, and the ping."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from reconciler.admin.api import Api
from reconciler.admin.deliveries import OutboxApi
from reconciler.admin.exposition import Exposition
from reconciler.admin.health import Health, Readiness
from reconciler.admin.metrics import Gauges, OwnState
from reconciler.admin.page import StatusPage
from reconciler.admin.server import AdminServer
from reconciler.config import Secrets, Settings
from reconciler.daemon.build import disks_of
from reconciler.ledger import Rules
from reconciler.outbound.ping import Ping
from reconciler.outbound.session import build_session, trusting
from reconciler.runtime.clock import Clock
from reconciler.store.open import Store
from reconciler.telemetry.metrics import Metrics


def admin_of(
    settings: Settings,
    secrets: Secrets,
    store: Store,
    *,
    metrics: Metrics,
    health: Health,
    own: OwnState,
    rules: Callable[[], Rules],
    on_change: Callable[[], None],
    on_redeliver: Callable[[], None],
    now: Callable[[], int],
    monotonic: Callable[[], float],
    log: FilteringBoundLogger,
) -> AdminServer | None:
    """Return the admin listener, if there is one. It is not open yet."""
    listen = settings.admin.listen
    if not listen:
        return None
    api = Api(
        registry=store.registry,
        views=store.views,
        work=store.work,
        instances=store.instances,
        health=health,
        rules=rules,
        now=now,
        on_change=on_change,
        log=log,
        own=own.instance,
    )
    outbox = OutboxApi(store.outbox, store.redelivery, now=now, on_change=on_redeliver, log=log)
    disks = disks_of(settings, secrets)
    looks = monitoring_routes(
        metrics, store, health, own, disks=disks, now=now, monotonic=monotonic
    )
    return AdminServer(
        [*api.routes(), *outbox.routes(), *looks],
        host=listen.host,
        port=listen.port,
        unix_path=listen.unix or None,
        token=secrets.admin_token,
        log=log,
    )


def monitoring_routes(
    metrics: Metrics,
    store: Store,
    health: Health,
    own: OwnState,
    *,
    disks: dict[str, Path],
    now: Callable[[], int],
    monotonic: Callable[[], float],
) -> list[web.RouteDef]:
    """Return the routes of ``/metrics`` and ``/``, for one daemon on ``store``."""
    gauges = Gauges(
        views=store.views,
        instances=store.instances,
        health=health,
        own=own,
        disks=disks,
        now=now,
        monotonic=monotonic,
    )
    page = StatusPage(
        views=store.views,
        outbox=store.outbox,
        instances=store.instances,
        health=health,
        own=own.instance,
        now=now,
        monotonic=monotonic,
    )
    return [*Exposition(metrics.registry, gauges).routes(), *page.routes()]


def ping_of(
    settings: Settings,
    secrets: Secrets,
    *,
    clock: Clock,
    log: FilteringBoundLogger,
) -> Ping | None:
    """Return the dead-man ping, if there is one. Must be called on a running loop."""
    if settings.heartbeat is None or not secrets.heartbeat_url:
        return None
    return Ping(
        secrets.heartbeat_url,
        build_session(trusting(""), 1),
        interval=settings.heartbeat.interval / 1000,
        clock=clock,
        log=log,
    )


async def ping_if_well(
    ping: Ping | None,
    stale_loops: Callable[[], list[str]],
    readiness: Callable[[], Awaitable[Readiness]],
) -> None:
    """Ping after a summary: if every loop ticks and a callback would be answered 200."""
    if ping is not None and not stale_loops() and (await readiness()).is_ready:
        ping.send()
