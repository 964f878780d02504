"""The composition root: builds every part from the configuration, starts and stops in order.

The only file that knows all rooms. ``Service.run`` is a flat list of named tasks; the first to
end stops the others in order.
"""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from reconciler.admin.build import build_admin
from reconciler.admin.health import Readiness
from reconciler.config import Change, Secrets, Settings, in_force, rules
from reconciler.config.access_rules import access_rules
from reconciler.daemon.build import disks_of, keep_of, tls_of
from reconciler.daemon.clients import Clients
from reconciler.daemon.host_checks import HostChecks
from reconciler.daemon.housekeeping import Housekeeping
from reconciler.daemon.membership import Membership
from reconciler.daemon.monitoring import CallingBell, ping_if_well, ping_of
from reconciler.daemon.recovery import Recovery
from reconciler.daemon.rota import Scheduler
from reconciler.daemon.tasks import Tasks
from reconciler.daemon.vitals import Vitals
from reconciler.inbound.applier import Applier
from reconciler.inbound.intake import Intake
from reconciler.inbound.listener import Listener, addresses, bind
from reconciler.inbound.spool import Spool
from reconciler.ledger import Outcome, Rules
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.budget import Budget
from reconciler.outbound.share import Share
from reconciler.reconcile.misconfiguration import CallbackPath
from reconciler.reconcile.overdue import OverdueChecker
from reconciler.reconcile.recorder import Recorder
from reconciler.reconcile.sweeper import Sweeper
from reconciler.runtime.clock import Clock
from reconciler.runtime.current import Current
from reconciler.store.clock import StoreClock
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store
from reconciler.store.postgres.wait_for_server import ServerWait
from reconciler.systemd.notify import Notifier
from reconciler.systemd.watchdog import Watchdog
from reconciler.telemetry.logging import LogSystem
from reconciler.telemetry.metrics import Metrics

HEARTBEAT = 5.0
"""Seconds between two heartbeats of an instance."""

SUMMARY = 60.0
FORESIGHT = 60.0
HOUSEKEEPING = 600.0


class Service:
    """One daemon on an open store."""

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        store: Store,
        logs: LogSystem,
        *,
        arrival: ServerWait | None = None,
        clock: Clock | None = None,
        notifier: Notifier | None = None,
        listening: socket.socket | None = None,
    ) -> None:
        """Build all parts; nothing runs yet. Must be called on a running loop.

        ``arrival``: where the store could not be reached yet.
        ``listening``, from the service manager, is used instead of ``listener.host`` and ``port``.
        """
        log = logs.logger
        tls = tls_of(settings)  # first: whatever fails here leaves nothing open
        self._arrival, self._passed = arrival, listening
        self._clock = StoreClock(store.database, clock or Clock(), log)
        now, monotonic = self._clock.now, self._clock.monotonic
        self._settings, self._store, self._logs, self._log = settings, store, logs, log
        self._monotonic = monotonic
        self._rules = rules(settings)
        self._begun_at = monotonic()
        self.is_ready = asyncio.Event()
        self.listener_url = ""
        """Where callbacks are taken, with the port really bound; set when ready."""

        instance_id = uuid4().hex
        assure = settings.assure
        share = None if store.database.dialect == "sqlite" else Share()
        self._budget = Budget(assure.requests_per_second, clock=self._clock, share=share)
        breaker = Breaker(clock=self._clock, log=log)
        self._callback_path = CallbackPath(log)
        self._lines = Clients(
            settings,
            secrets,
            store.outbox,
            budget=self._budget,
            breaker=breaker,
            owner=instance_id,
            clock=self._clock,
            log=log,
        )
        self._ping = ping_of(settings, secrets, clock=self._clock, log=log)
        self._metrics = Metrics()
        logs.tap(self._metrics.note)
        self._parts = Tasks(monotonic=monotonic, log=log)
        self._rota = Scheduler(monotonic=monotonic, log=log)
        self._notifier = notifier or Notifier({})
        self._watchdog = Watchdog(self._notifier, stale=self._stuck, log=log)

        self._recorder = Recorder(
            store.work,
            rules=self._get_rules,
            clock=self._clock,
            on_recorded=self._recorded,
            log=log,
        )
        self._sweeper = Sweeper(
            store.work,
            self._lines.assure.caller,
            self._recorder,
            budget=self._budget,
            breaker=breaker,
            owner=instance_id,
            max_concurrency=assure.max_concurrency,
            lease_length=4 * assure.timeout,
            rules=self._get_rules,
            clock=self._clock,
            log=log,
        )
        self._watch = OverdueChecker(
            store.work,
            rules=self._get_rules,
            clock=self._clock,
            on_due=self._sweeper.wake,
            log=log,
            on_progress=self._progressed,
        )
        self._spool = Spool(Path(settings.store.spool), instance_id)
        self._intake = Intake(
            store.inbox, self._spool, on_stored=self._stored, clock=self._clock, log=log
        )
        self._applier = Applier(
            store.inbox,
            rules=self._get_rules,
            now=now,
            on_applied=self._applied,
            log=log,
            is_busy=lambda: self._intake.is_busy,
            on_progress=self._progressed,
        )
        self._listener = Listener(
            access_rules(settings, secrets),
            self._intake,
            clock=self._clock,
            log=log,
            tls=tls,
        )
        self._recovery = Recovery(
            store.instances,
            store.key_values,
            watch=self._watch,
            applier=self._applier,
            monotonic=monotonic,
        )
        self._foresight = HostChecks(disks_of(settings, secrets), now=now, log=log)
        self._foresight.watch(settings.listener.tls, tls)
        self._vitals = Vitals(
            instance_id,
            store,
            self._spool,
            requests_per_second=assure.requests_per_second,
            now=now,
            log=log,
        )
        self._vitals.attend(
            intake=self._intake,
            listener=self._listener,
            sweeper=self._sweeper,
            breaker=breaker,
            budget=self._budget,
            membership=Membership(store.instances, share, monotonic=monotonic, log=log),
        )
        housekeeping = Housekeeping(
            store.database, keep=lambda: keep_of(self._settings), now=now, log=log
        )
        self._rota.add("sweep", self._tick, settings.reconcile.shortest_sweep / 1000)
        self._rota.add("heartbeat", self._beat, HEARTBEAT)
        self._rota.add("summary", self._summarize, SUMMARY)
        self._rota.add("host_checks", self._foresight.look, FORESIGHT)
        self._rota.add("housekeeping", housekeeping.tick, HOUSEKEEPING)
        self._current = Current(in_force(settings, secrets))
        self._admin = build_admin(
            self._current,
            store,
            own=self._vitals,
            jobs=self._rota,
            check=self,
            metrics=self._metrics,
            rejected=self._listener.rejected,
            disks=disks_of(settings, secrets),
            due=CallingBell("due", self._wake),
            news=CallingBell("news", self._applied),
            clock=self._clock,
            logs=logs,
            log=log,
        )

    async def run(self, stop: asyncio.Event) -> bool:
        """Serve until ``stop`` is set; False when a part has died. Raises OSError, StoreError."""
        self._begun_at = self._monotonic()
        host, port = self._settings.listener.host, self._settings.listener.port
        try:
            listening = self._passed or bind(host, port)
        except OSError as error:
            await self._close_lines()
            raise OSError(
                error.errno, f"cannot listen on {host}:{port}: {error.strerror}"
            ) from error
        survived = True
        try:
            with suppress(StoreUnavailableError):  # then a later heartbeat is the first
                await self._beat()
            self._start_parts()
            self._listener.start(listening)
            if self._admin is not None:
                await self._admin.start()
            if await self._vitals.until_ready(stop, lambda: self._parts.has_ended):
                self._tell_ready(listening)
                self._rota.wake("summary")  # a ping, for those who wait for one since the stop
            survived = await self._parts.watch(stop)
            self._log.info("stopping", reason="signal" if survived else "part_failed")
        finally:
            await self._stop(listening)
        return survived

    async def reload(self, change: Change) -> None:
        """Take on a change, dropping no connection. Raises OSError, ValueError: nothing changed."""
        settings, secrets = change.configuration.settings, change.configuration.secrets
        has_tls = change.touches("listener.tls")
        tls = tls_of(settings) if has_tls else None
        lines = await self._lines.prepare(change)
        # From here on nothing can fail, and nothing is awaited: all of it, or nothing.
        self._settings, self._rules = settings, rules(settings)
        self._listener.door = access_rules(settings, secrets)
        if has_tls:
            self._listener.use_tls(tls)
            self._foresight.watch(settings.listener.tls, tls)
        self._lines.use(lines)
        self._sweeper.use(
            self._lines.assure.caller,
            max_concurrency=settings.assure.max_concurrency,
            lease_length=4 * settings.assure.timeout,
        )
        self._budget.set_rate(settings.assure.requests_per_second)
        self._vitals.requests_per_second = settings.assure.requests_per_second
        self._rota.change("sweep", settings.reconcile.shortest_sweep / 1000)
        self._current.value = in_force(settings, secrets)
        self._logs.set_level(settings.log.level)
        self._warn_if_open_to_all()
        self._wake()
        if change.touches("heartbeat"):
            old = self._ping
            self._ping = ping_of(settings, secrets, clock=self._clock, log=self._log)
            self._rota.wake("summary")  # the new one is pinged now, and is seen to work
            if old is not None:
                await old.stop()

    def _start_parts(self) -> None:
        parts = self._parts
        if self._arrival is not None:
            parts.start("store", self._arrival.run())
        parts.start("intake", self._intake.run())
        parts.start("drain", self._intake.drain())
        parts.start("applier", self._applier.run())
        parts.start("recorder", self._recorder.run())
        parts.start("sweeper", self._sweeper.run())
        for name, run in self._rota.runs():
            parts.start(name, run)
        parts.start_kept_alive("deliverer", self._lines.outlet.run)
        for name in ("sweep", "host_checks", "housekeeping"):  # the others have nothing to say yet
            self._rota.wake(name)
        self._rota.begin()

    def _warn_if_open_to_all(self) -> None:
        listener = self._settings.listener
        if not listener.authorization and not listener.allow_from:
            self._log.warning("callbacks_unauthenticated")

    def _tell_ready(self, listening: socket.socket) -> None:
        self._warn_if_open_to_all()
        self.listener_url = addresses(
            [listening], "https" if self._settings.listener.tls else "http"
        )
        self.is_ready.set()
        self._notifier.status(f"takes callbacks on {self.listener_url}")
        self._notifier.ready()
        self._watchdog.start()
        self._log.info(
            "ready",
            listener=self.listener_url,
            admin=self._admin.url if self._admin else None,
            instance=self._vitals.instance_id,
            duration_ms=round((self._monotonic() - self._begun_at) * 1000),
        )

    async def _stop(self, listening: socket.socket) -> None:
        """Stop in the order that loses nothing: first what comes in, last what is written down."""
        parts = self._parts
        parts.begin_stop()
        if self._arrival is not None:
            self._arrival.stop()
        self._notifier.stopping()
        self._notifier.status("stopping: what is in flight is finished")
        self._rota.stop()
        self._sweeper.stop()
        await self._listener.stop()
        listening.close()
        self._intake.stop()
        await parts.finish("intake", "drain")
        self._applier.stop()
        await parts.finish("sweeper", "applier")
        self._recorder.stop()
        await parts.finish("recorder")
        self._lines.outlet.stop()
        await parts.finish()
        if self._admin is not None:
            await self._admin.stop()
        await self._close_lines()
        if parts.has_time:  # a store that hangs can take long; the row runs out by itself
            with suppress(StoreError):
                await self._beat()
                await self._store.instances.sign_off(self._vitals.instance_id)
        self._spool.close()
        self._watchdog.stop()
        self._log.info(
            "stopped",
            duration_ms=round(parts.stopping_for * 1000),
            log_lines_dropped=self._logs.dropped,
        )

    async def _close_lines(self) -> None:
        await self._lines.close()
        if self._ping is not None:
            await self._ping.stop()

    async def _tick(self) -> bool:
        if not self._recovery.is_introduced:
            await self._beat()
        if not self._recovery.is_done:
            await self._recovery.recover()
        has_more = await self._watch.tick()
        await self._applier.recover()
        self._applied()
        return has_more

    async def _beat(self) -> None:
        await self._clock.correct()
        if not self._recovery.is_introduced:
            await self._recovery.introduce(self._lines.assure)
        await self._vitals.beat()
        await self._recovery.remember(self._lines.assure)

    async def _summarize(self) -> None:
        await self._vitals.summarize(self._logs.dropped, self._foresight.free_mb)
        # Where the store did not answer we do not come here: no ping.
        await ping_if_well(self._ping, self._rota.stale, self.check)

    async def check(self) -> Readiness:
        """Tell whether a callback would be kept now."""
        if self._parts.is_stopping:
            return Readiness(False, reason="stopping")
        return await self._vitals.readiness()

    def _stuck(self) -> list[str]:
        """Return what the watchdog must not overlook; a stop has a limit of its own."""
        return [] if self._parts.is_stopping else self._rota.stale()

    def _wake(self) -> None:
        """Something may have become due: look now instead of with the next tick."""
        self._rota.wake("sweep")

    def _progressed(self) -> None:
        """A sweep that takes long, such as the first one, has got further."""
        self._rota.progressed("sweep")

    def _get_rules(self) -> Rules:
        return self._rules

    def _applied(self) -> None:
        self._sweeper.wake()
        self._lines.outlet.wake()

    def _stored(self, receipts: Sequence[Receipt]) -> None:
        self._vitals.stored(len(receipts))
        self._callback_path.came()
        self._applier.submit(receipts)

    def _recorded(self, outcomes: Sequence[Outcome]) -> None:
        self._vitals.recorded(outcomes)
        self._callback_path.recorded(outcomes)
        self._applied()
