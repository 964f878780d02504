"""The composition root: builds one daemon from its configuration.

The only file that knows all rooms. The parts pass work through the store; a bell tells one of
them that there is something to do.
"""

import asyncio
import socket
from pathlib import Path
from uuid import uuid4

from reconciler.admin.build import build_admin
from reconciler.config import Configuration, in_force
from reconciler.daemon.action_log import ActionLog
from reconciler.daemon.certificates import Certificates
from reconciler.daemon.clients import Clients
from reconciler.daemon.host_checks import HostChecks
from reconciler.daemon.housekeeping import Housekeeping
from reconciler.daemon.membership import Membership, OwnInstance
from reconciler.daemon.readiness import ReadinessCheck
from reconciler.daemon.recovery import Heartbeat, Sweep
from reconciler.daemon.reload import ConfigSource, InUse, Reloader
from reconciler.daemon.scheduler import Scheduler
from reconciler.daemon.service import Built, Service
from reconciler.daemon.summary import Statistics, Summary
from reconciler.delivery.deliverer import Deliverer
from reconciler.inbound.build import build_inbound
from reconciler.inbound.spool import Spool
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.outbound.ping import Ping
from reconciler.outbound.session import build_session, trusting
from reconciler.outbound.share import Share
from reconciler.reconcile.build import build_reconcile
from reconciler.reconcile.misconfiguration import CallbackPath
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.clock import StoreClock
from reconciler.store.open import Store
from reconciler.store.postgres.wait_for_server import ServerWait
from reconciler.store.urls import is_postgres, sqlite_path
from reconciler.systemd.notify import Notifier
from reconciler.systemd.watchdog import Watchdog
from reconciler.telemetry.logging import LogSystem
from reconciler.telemetry.metrics import Metrics


def build_service(
    configuration: Configuration,
    certificates: Certificates,
    store: Store,
    logs: LogSystem,
    *,
    source: ConfigSource | None = None,
    server_wait: ServerWait | None = None,
    clock: Clock | None = None,
    notifier: Notifier | None = None,
    listening: socket.socket | None = None,
) -> Service:
    """Return a daemon on an open store; nothing runs yet. Needs a running loop.

    ``source``: from where a reload reads; None: there is none. ``server_wait``: where the store
    could not be reached yet. ``listening``, from the service manager, is used instead of
    ``listener.host`` and ``port``. Raises ValueError where a client cannot be built.
    """
    settings = configuration.settings
    instance_id = uuid4().hex
    notifier = notifier or Notifier({})

    # Time, what is in force, and the bells
    log, clock = logs.logger, StoreClock(store.database, clock or Clock(), logs.logger)
    current = Current(in_force(settings, configuration.secrets))
    held, tls = Current(certificates), Current(certificates.listener)
    tick, due, news = Bell("tick"), Bell("due"), Bell("news")

    # Counters that listen to the log
    metrics, statistics = Metrics(), Statistics()
    logs.tap(metrics.note)
    logs.tap(statistics.note, *Statistics.EVENTS)
    logs.tap(CallbackPath(log).note, *CallbackPath.EVENTS)

    # Outward
    share = Share() if is_postgres(configuration.secrets.store_url) else None
    budget = Budget(settings.assure.requests_per_second, clock=clock, share=share)
    breaker = Breaker(clock=clock, log=log)
    clients = Clients(
        configuration, certificates, budget=budget, breaker=breaker, clock=clock, log=log
    )
    ping = Ping(build_session(trusting(""), 1), clock, log)

    # The rooms
    spool = Spool(Path(settings.store.spool), instance_id)
    inbound = build_inbound(
        store.inbox, spool, current, tls, due=due, news=news, clock=clock, log=log
    )
    reconcile = build_reconcile(
        store.work,
        store.outbox,
        clients.assure,
        current,
        due=due,
        news=news,
        budget=budget,
        breaker=breaker,
        owner=instance_id,
        clock=clock,
        log=log,
    )
    deliverer = Deliverer(
        store.outbox, clients.delivery, news=news, owner=instance_id, clock=clock, log=log
    )

    # This daemon as others see it
    own = OwnInstance(
        instance_id,
        current,
        sweeper=reconcile.sweeper,
        breaker=breaker,
        intake=inbound.intake,
        clock=clock,
    )
    membership = Membership(own, store.instances, share, clock, log)
    readiness = ReadinessCheck(
        store.inbox, inbound.intake, inbound.listener, inbound.spool_check, breaker
    )

    # Repeated work
    scheduler = Scheduler(clock, log)
    heartbeat = Heartbeat(
        clock,
        store.database,
        store.instances,
        store.key_values,
        membership,
        clients.assure,
        log,
    )
    sweep = Sweep(
        tick,
        current,
        heartbeat=heartbeat,
        overdue=reconcile.overdue,
        clock_mender=reconcile.clock_mender,
        applier=inbound.applier,
        due=due,
        news=news,
        clock=clock,
    )
    host_checks = HostChecks(disks_of(configuration), held, clock, log)
    housekeeping = Housekeeping(store.database, current, clock, log)
    summary = Summary(
        store.views,
        current,
        budget=budget,
        breaker=breaker,
        intake=inbound.intake,
        listener=inbound.listener,
        host_checks=host_checks,
        readiness=readiness,
        scheduler=scheduler,
        ping=ping,
        statistics=statistics,
        clock=clock,
        logs=logs,
    )
    action_log = ActionLog(store.actions, log)
    for job in (sweep, heartbeat, summary, host_checks, housekeeping, action_log):
        scheduler.add(job)

    admin = build_admin(
        current,
        store,
        own=own,
        jobs=scheduler,
        check=readiness,
        metrics=metrics,
        listener=inbound.listener,
        disks=disks_of(configuration),
        due=tick,
        news=news,
        clock=clock,
        logs=logs,
        log=log,
    )

    ready = asyncio.Event()
    reloader = None
    if source is not None:
        bells = (tick, due, news, summary.bell, host_checks.bell)
        in_use = InUse(current, held, tls, clients, scheduler, bells, logs)
        reloader = Reloader(source, configuration, in_use, notifier, ready, logs)
    return Service(
        Built(
            current=current,
            scheduler=scheduler,
            inbound=inbound,
            reconcile=reconcile,
            deliverer=deliverer,
            server_wait=server_wait,
            reloader=reloader,
            admin=admin,
            heartbeat=heartbeat,
            membership=membership,
            readiness=readiness,
            first_jobs=(sweep, host_checks, housekeeping),
            summary=summary,
            clients=clients,
            ping=ping,
            spool=spool,
            notifier=notifier,
            watchdog=Watchdog(notifier, scheduler, log),
        ),
        ready=ready,
        listening=listening,
        instance_id=instance_id,
        clock=clock,
        logs=logs,
    )


def disks_of(configuration: Configuration) -> dict[str, Path]:
    """Return a directory on each disk that must have room, by what it holds.

    PostgreSQL has its disks elsewhere.
    """
    found = {"spool": Path(configuration.settings.store.spool).absolute()}
    url = configuration.secrets.store_url
    if not is_postgres(url):
        found["store"] = sqlite_path(url).parent
    return found
