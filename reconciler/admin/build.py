"""Builds the admin listener of a daemon with all its routes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from structlog.typing import FilteringBoundLogger

from reconciler.admin.actions import ActionsApi
from reconciler.admin.api import Api
from reconciler.admin.deliveries import DeliveriesApi
from reconciler.admin.health import Check, Described, Health, Jobs
from reconciler.admin.metrics import Gauges, Logs, MetricsPage, Refusals
from reconciler.admin.openapi import Document, openapi
from reconciler.admin.page import StatusPage
from reconciler.admin.routing import routes_of
from reconciler.admin.server import AdminServer
from reconciler.config import InForce
from reconciler.operations import Actor
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.open import Store
from reconciler.telemetry.metrics import Metrics

RESOURCES = (Api, DeliveriesApi, ActionsApi, MetricsPage, StatusPage, Document)


def document() -> dict[str, Any]:
    """Return the OpenAPI document of the admin listener. Takes some 0.1 s."""
    return openapi(RESOURCES)


def build_admin(
    current: Current[InForce],
    store: Store,
    *,
    own: Described,
    jobs: Jobs,
    check: Check,
    metrics: Metrics,
    listener: Refusals,
    disks: Mapping[str, Path],
    due: Bell,
    news: Bell,
    clock: Clock,
    logs: Logs,
    log: FilteringBoundLogger,
) -> AdminServer | None:
    """Return the admin listener, not open yet; None where ``admin.listen`` is empty.

    ``due`` is rung when a process may have become due, ``news`` when a delivery is due.
    ``listener`` and ``disks`` are those of ``Gauges``.
    """
    listen = current.value.settings.admin.listen
    if not listen:
        return None
    actor = Actor("api", store, current, clock, log, is_daemon=True)
    health = Health(jobs, check, clock)
    gauges = Gauges(store, health, own=own, listener=listener, logs=logs, disks=disks, clock=clock)
    resources: tuple[object, ...] = (
        Api(actor, health=health, own=own, due=due),
        DeliveriesApi(actor, news),
        ActionsApi(store.actions),
        MetricsPage(metrics.registry, gauges),
        StatusPage(store, health, own, clock),
        Document(RESOURCES),
    )
    routes = [route for resource in resources for route in routes_of(resource)]
    return AdminServer(routes, listen, current, clock, log)
