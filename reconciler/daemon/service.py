"""One daemon: builds every part from the configuration, runs them, and stops them in order.

The composition root, and the only file that knows all rooms. The parts pass work through the
store; a bell tells one of them that there is something to do.
"""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from reconciler.admin.build import build_admin
from reconciler.config import Configuration, in_force
from reconciler.daemon.build import disks_of
from reconciler.daemon.certificates import Certificates
from reconciler.daemon.clients import Clients
from reconciler.daemon.host_checks import HostChecks
from reconciler.daemon.housekeeping import Housekeeping
from reconciler.daemon.membership import Membership, OwnInstance
from reconciler.daemon.readiness import ReadinessCheck
from reconciler.daemon.recovery import Heartbeat, Sweep
from reconciler.daemon.reload import ConfigSource, InUse, Reloader
from reconciler.daemon.scheduler import Scheduler
from reconciler.daemon.summary import Statistics, Summary
from reconciler.daemon.tasks import Part, Tasks
from reconciler.delivery.deliverer import Deliverer
from reconciler.inbound.build import build_inbound
from reconciler.inbound.listener import addresses, bind
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
from reconciler.runtime.current import Current
from reconciler.store.clock import StoreClock
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.open import Store
from reconciler.store.postgres.wait_for_server import ServerWait
from reconciler.systemd.notify import Notifier
from reconciler.systemd.watchdog import Watchdog
from reconciler.telemetry.logging import LogSystem
from reconciler.telemetry.metrics import Metrics


class Service:
    """One daemon on an open store."""

    def __init__(
        self,
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
    ) -> None:
        """Build all parts; nothing runs yet. Must be called on a running loop.

        ``source``: from where a reload reads; None: there is none. ``server_wait``: where the
        store could not be reached yet. ``listening``, from the service manager, is used instead
        of ``listener.host`` and ``port``. Raises ValueError where a client cannot be built.
        """
        log = self._log = logs.logger
        self._logs, self._passed = logs, listening
        clock = self._clock = StoreClock(store.database, clock or Clock(), log)
        settings, secrets = configuration.settings, configuration.secrets
        current = self._current = Current(in_force(settings, secrets))
        held, tls = Current(certificates), Current(certificates.listener)
        self._begun_at = clock.monotonic()
        self.is_ready = asyncio.Event()
        self.listener_url = ""
        """Where callbacks are taken, with the port really bound; set when ready."""

        instance_id = uuid4().hex
        tick, due, news = Bell("tick"), Bell("due"), Bell("news")
        self._metrics, statistics = Metrics(), Statistics()
        for tap in (self._metrics, statistics, CallbackPath(log)):
            logs.tap(tap.note)
        share = None if store.database.dialect == "sqlite" else Share()
        budget = Budget(settings.assure.requests_per_second, clock=clock, share=share)
        breaker = Breaker(clock=clock, log=log)
        self._clients = clients = Clients(
            configuration,
            certificates,
            budget=budget,
            breaker=breaker,
            clock=clock,
            log=log,
        )
        self._ping = Ping(build_session(trusting(""), 1), clock, log)
        spool = self._spool = Spool(Path(settings.store.spool), instance_id)
        scheduler = self._scheduler = Scheduler(clock, log)

        reconcile = build_reconcile(
            store.work,
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
        sweeper, recorder, overdue = reconcile.sweeper, reconcile.recorder, reconcile.overdue
        deliverer = Deliverer(
            store.outbox, clients.delivery, news=news, owner=instance_id, clock=clock, log=log
        )
        inbound = build_inbound(
            store.inbox,
            spool,
            current,
            tls,
            due=due,
            news=news,
            clock=clock,
            log=log,
        )
        listener = self._listener = inbound.listener
        intake, applier = inbound.intake, inbound.applier

        own = self._own = OwnInstance(
            instance_id, current, sweeper=sweeper, breaker=breaker, intake=intake, clock=clock
        )
        self._membership = Membership(own, store.instances, share, clock, log)
        heartbeat = self._heartbeat = Heartbeat(
            clock, store.instances, store.key_values, self._membership, clients.assure
        )
        sweep = self._sweep = Sweep(
            tick,
            current,
            heartbeat=heartbeat,
            overdue=overdue,
            applier=applier,
            due=due,
            news=news,
            clock=clock,
        )
        host_checks = self._host_checks = HostChecks(disks_of(configuration), held, clock, log)
        housekeeping = self._housekeeping = Housekeeping(store.database, current, clock, log)
        readiness = self._readiness = ReadinessCheck(store.inbox, intake, spool, breaker)
        summary = self._summary = Summary(
            store.views,
            current,
            budget=budget,
            breaker=breaker,
            intake=intake,
            listener=listener,
            host_checks=host_checks,
            readiness=readiness,
            scheduler=scheduler,
            ping=self._ping,
            statistics=statistics,
            clock=clock,
            logs=logs,
        )
        for job in (sweep, heartbeat, summary, host_checks, housekeeping):
            scheduler.add(job)

        self._admin = build_admin(
            current,
            store,
            own=own,
            jobs=scheduler,
            check=readiness,
            metrics=self._metrics,
            rejected=listener.rejected,
            disks=disks_of(configuration),
            due=tick,
            news=news,
            clock=clock,
            logs=logs,
            log=log,
        )
        self._notifier = notifier or Notifier({})
        self._watchdog = Watchdog(self._notifier, scheduler, log)
        bells = (tick, due, news, summary.bell, host_checks.bell)
        in_use = InUse(current, held, tls, clients, scheduler, bells, logs)
        in_use.also = (budget,)
        self._reloader = (
            Reloader(source, configuration, in_use, self._notifier, self.is_ready, logs)
            if source is not None
            else None
        )
        parts = [
            Part("scheduler", scheduler),
            Part("sweeper", sweeper),
            Part("listener", listener),
            Part("intake", intake, after=("listener",)),
            Part("drain", inbound.drain, after=("listener",)),
            Part("applier", applier, after=("intake", "drain")),
            Part("recorder", recorder, after=("sweeper", "applier")),
            Part("deliverer", deliverer, after=("recorder",), is_kept_alive=True),
        ]
        if server_wait is not None:
            parts.insert(0, Part("store", server_wait))
        if self._reloader is not None:
            parts.insert(0, Part("reloader", self._reloader))
        self._tasks = Tasks(parts, clock, log)

    def reload(self) -> None:
        """Read the configuration again as soon as may be."""
        if self._reloader is not None:
            self._reloader.ask()

    async def run(self, stop: asyncio.Event) -> bool:
        """Serve until ``stop`` is set; False when a part has failed. Raises OSError, StoreError."""
        self._begun_at = self._clock.monotonic()
        listening = None
        try:
            listening = self._bind()
            with suppress(StoreUnavailableError):  # then a later heartbeat is the first
                await self._heartbeat.turn()
            async with self._tasks.running():
                await self._open(listening)
                await self._serve(stop, listening)
            await self._say_goodbye()
        finally:
            await self._close(listening)
        self._tell_stopped()
        return not self._tasks.failed.is_set()

    def _bind(self) -> socket.socket:
        listener = self._current.value.settings.listener
        host, port = listener.host, listener.port
        try:
            return self._passed or bind(host, port)
        except OSError as error:
            told = f"cannot listen on {host}:{port}: {error.strerror}"
            raise OSError(error.errno, told) from error

    async def _open(self, listening: socket.socket) -> None:
        """Take callbacks from now on, and have the jobs done that have something to do."""
        self._listener.open(listening)
        if self._admin is not None:
            await self._admin.start()
        for job in (self._sweep, self._host_checks, self._housekeeping):
            job.bell.ring()

    async def _serve(self, stop: asyncio.Event, listening: socket.socket) -> None:
        """Tell readiness as soon as callbacks are kept; return when the stop begins."""
        ending = [asyncio.create_task(event.wait()) for event in (stop, self._tasks.failed)]
        try:
            while not any(task.done() for task in ending):
                if (await self._readiness.check()).is_ready:
                    self._tell_ready(listening)
                    break
                await asyncio.wait(ending, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
        failed = self._tasks.failed.is_set()
        self._log.info("stopping", reason="part_failed" if failed else "signal")
        self._readiness.is_stopping = True
        self._notifier.stopping()
        self._notifier.status("stopping: what is in flight is finished")

    def _tell_ready(self, listening: socket.socket) -> None:
        in_force = self._current.value
        if in_force.access.is_open:
            self._log.warning("callbacks_unauthenticated")
        scheme = "https" if in_force.settings.listener.tls else "http"
        self.listener_url = addresses([listening], scheme)
        self.is_ready.set()
        self._notifier.status(f"takes callbacks on {self.listener_url}")
        self._notifier.ready()
        self._watchdog.start()
        self._log.info(
            "ready",
            listener=self.listener_url,
            admin=self._admin.url if self._admin else None,
            instance=self._own.instance_id,
            duration_ms=round((self._clock.monotonic() - self._begun_at) * 1000),
        )
        self._summary.bell.ring()  # a ping, for those who wait for one since the stop

    async def _say_goodbye(self) -> None:
        """Take this daemon's row away. A store that hangs may keep it: the row runs out."""
        if self._tasks.has_time:
            with suppress(StoreError):
                await self._membership.leave()

    async def _close(self, listening: socket.socket | None) -> None:
        if listening is not None:
            listening.close()
        if self._admin is not None:
            await self._admin.stop()
        await self._clients.close()
        await self._ping.stop()
        self._spool.close()
        self._watchdog.stop()

    def _tell_stopped(self) -> None:
        self._log.info(
            "stopped",
            duration_ms=round(self._tasks.stopping_for * 1000),
            log_lines_dropped=self._logs.dropped,
        )
