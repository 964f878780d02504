"""What others look at beside the log: the metrics, the status page, the dead-man ping."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from reconciler.admin.exposition import Exposition
from reconciler.admin.gauges import Gauges, Own
from reconciler.admin.health import Health, Readiness
from reconciler.admin.page import StatusPage
from reconciler.config import Secrets, Settings
from reconciler.outbound.ping import Ping
from reconciler.outbound.session import build_session
from reconciler.store.opening import Store, sqlite_path
from reconciler.telemetry.counting import Metrics


def monitoring_routes(
    metrics: Metrics,
    store: Store,
    health: Health,
    own: Own,
    *,
    disks: dict[str, Path],
    now: Callable[[], int],
    monotonic: Callable[[], float],
) -> list[web.RouteDef]:
    """Return the routes of ``/metrics`` and ``/``, for one daemon on ``store``."""
    gauges = Gauges(
        views=store.views,
        roster=store.roster,
        health=health,
        own=own,
        disks=disks,
        now=now,
        monotonic=monotonic,
    )
    page = StatusPage(
        views=store.views,
        outbox=store.outbox,
        roster=store.roster,
        health=health,
        own=own.instance,
        now=now,
        monotonic=monotonic,
    )
    return [*Exposition(metrics.registry, gauges).routes(), *page.routes()]


def disks_of(store_url: str, spool: str) -> dict[str, Path]:
    """Return a path on each disk that may run full. A PostgreSQL has its disk elsewhere."""
    found = {"spool": Path(spool).absolute()}
    if store_url.startswith("sqlite:"):
        found["store"] = sqlite_path(store_url).parent
    return found


def ping_of(
    settings: Settings,
    secrets: Secrets,
    *,
    monotonic: Callable[[], float],
    log: FilteringBoundLogger,
) -> Ping | None:
    """Return the dead-man ping, if there is one. Must be called on a running loop."""
    if settings.heartbeat is None or not secrets.heartbeat_url:
        return None
    return Ping(
        secrets.heartbeat_url,
        build_session(ca_file="", max_concurrency=1),
        interval=settings.heartbeat.interval / 1000,
        monotonic=monotonic,
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
