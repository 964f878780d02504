"""The composition root: builds every part from the configuration, starts and stops in order.

The only file that knows all rooms. ``Service.run`` is a flat list of named tasks; the first to
end stops the others in order.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from reconciler.admin.api import Api
from reconciler.admin.health import Health, Readiness
from reconciler.admin.outbox import OutboxApi
from reconciler.admin.server import AdminServer
from reconciler.assure import AssureClient, Breaker, Budget, Share, build_session
from reconciler.config import Secrets, Settings, rules
from reconciler.inbound.applier import Applier
from reconciler.inbound.intake import Intake
from reconciler.inbound.listener import Listener, addresses, bind
from reconciler.inbound.spool import Spool
from reconciler.ledger import Outcome
from reconciler.reconcile.caller import Caller
from reconciler.reconcile.chores import Chore, schedule
from reconciler.reconcile.membership import Membership
from reconciler.reconcile.recorder import Recorder
from reconciler.reconcile.suspicion import AssurePath, CallbackPath
from reconciler.reconcile.sweeper import Sweeper
from reconciler.reconcile.watch import Watch
from reconciler.store.arrival import Arrival
from reconciler.store.clock import StoreClock
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.inbox import Receipt
from reconciler.store.opening import Store
from reconciler.supervision import Parts
from reconciler.telemetry.logging import LogSystem
from reconciler.vitals import Vitals
from reconciler.wiring import deliverer_of, door_of, endpoint_of, tls_of

HEARTBEAT = 5.0
"""Seconds between two heartbeats of an instance."""

SUMMARY = 60.0
STALE = 30.0
"""Seconds after which a loop that has not ticked makes the daemon not alive."""

_ASSURE_PATH = "assure_path"


def system_clock() -> int:
    """Return the time in UTC milliseconds."""
    return time.time_ns() // 1_000_000


class Service:
    """One daemon on an open store."""

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        store: Store,
        logs: LogSystem,
        *,
        arrival: Arrival | None = None,
        now: Callable[[], int] = system_clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Build all parts; nothing runs yet. Must be called on a running loop.

        ``arrival``: where the store could not be reached yet.
        """
        log = logs.logger
        self._arrival = arrival
        self._clock = StoreClock(store.database, own=now, log=log)
        now = self._clock.now
        self._settings, self._store, self._logs, self._log = settings, store, logs, log
        self._now, self._monotonic = now, monotonic
        self._rules = rules(settings)
        spool = Path(settings.store.spool)
        instance_id = uuid4().hex
        self._spool = Spool(spool, instance_id)
        self._vitals = Vitals(
            instance_id,
            store,
            self._spool,
            requests_per_second=settings.assure.requests_per_second,
            now=now,
            log=log,
        )
        self._parts = Parts(monotonic=monotonic, log=log)
        self._last_alive_at: int | None = None
        self._begun_at = monotonic()
        self._is_introduced = False
        self._has_recovered = False
        self.is_ready = asyncio.Event()
        self.listener_url = ""
        """Where callbacks are taken, with the port really bound; set when ready."""

        tls = tls_of(settings)  # first: whatever fails here leaves nothing open
        assure = settings.assure
        self._endpoint = endpoint_of(settings, secrets)
        self._session = build_session(
            ca_file=assure.ca_file, max_concurrency=assure.max_concurrency
        )
        share = None if store.database.dialect == "sqlite" else Share()
        budget = Budget(assure.requests_per_second, share=share, monotonic=monotonic)
        self._breaker = Breaker(monotonic=monotonic, log=log)
        self._callback_path = CallbackPath(log)
        self._assure_path = AssurePath(is_proven=False, now=now, log=log)
        client = AssureClient(self._endpoint, self._session, budget, log, monotonic=monotonic)
        caller = Caller(
            client, breaker=self._breaker, budget=budget, path=self._assure_path, log=log
        )
        self._recorder = Recorder(
            store.work, rules=self._get_rules, now=now, on_recorded=self._recorded, log=log
        )
        self._sweeper = Sweeper(
            store.work,
            caller,
            self._recorder,
            budget=budget,
            breaker=self._breaker,
            owner=instance_id,
            max_concurrency=assure.max_concurrency,
            lease_length=4 * assure.timeout,
            rules=self._get_rules,
            now=now,
            log=log,
            monotonic=monotonic,
        )
        self._watch = Watch(
            store.work, rules=self._get_rules, now=now, on_due=self._sweeper.wake, log=log
        )
        self._delivery_session, self._deliverer = None, None
        if settings.delivery is not None:
            self._delivery_session = build_session(
                ca_file=settings.delivery.ca_file,
                max_concurrency=settings.delivery.max_concurrency,
            )
            self._deliverer = deliverer_of(
                settings,
                secrets,
                self._delivery_session,
                store.outbox,
                owner=instance_id,
                now=now,
                monotonic=monotonic,
                log=log,
            )

        self._intake = Intake(store.inbox, self._spool, on_stored=self._stored, log=log)
        self._applier = Applier(
            store.inbox,
            rules=self._get_rules,
            now=now,
            on_applied=self._applied,
            log=log,
            is_busy=lambda: self._intake.is_busy,
        )
        self._listener = Listener(
            door_of(settings, secrets), self._intake, now=now, log=log, tls=tls
        )

        def chore(name: str, work: Callable[[], Awaitable[bool | None]]) -> Chore:
            return Chore(name, work, monotonic=monotonic, log=log)

        self._chores = {
            chore("sweep", self._tick): settings.reconcile.sweep_interval / 1000,
            chore("heartbeat", self._beat): HEARTBEAT,
            chore("summary", self._summarize): SUMMARY,
        }
        self._vitals.attend(
            intake=self._intake,
            listener=self._listener,
            sweeper=self._sweeper,
            breaker=self._breaker,
            budget=budget,
            membership=Membership(store.roster, share, monotonic=monotonic, log=log),
        )
        self._admin = self._build_admin(secrets)

    async def run(self, stop: asyncio.Event) -> bool:
        """Serve until ``stop`` is set; False when a part has died. Raises OSError, StoreError."""
        self._begun_at = self._monotonic()
        host, port = self._settings.listener.host, self._settings.listener.port
        try:
            listening = bind(host, port)
        except OSError as error:
            await self._close_sessions()
            raise OSError(
                error.errno, f"cannot listen on {host}:{port}: {error.strerror}"
            ) from error
        scheduler = None
        survived = True
        try:
            with suppress(StoreUnavailableError):  # then a later heartbeat is the first
                await self._beat()
            self._start_parts()
            scheduler = schedule(self._chores, self._log)
            self._listener.start(listening)
            if self._admin is not None:
                await self._admin.start()
            self._tell_ready(listening)
            survived = await self._parts.watch(stop)
            self._log.info("stopping", reason="signal" if survived else "part_failed")
        finally:
            await self._stop(listening, scheduler)
        return survived

    async def _recover(self) -> None:
        """See to what an earlier run has left: clock, inbox, downtime.

        The first tick does it, not the start: on a large ledger it takes seconds, in which
        callbacks must be taken already.
        """
        if not self._is_introduced:
            await self._beat()
        await self._watch.mend_clock()
        await self._applier.recover(everything=True)
        up_for = round((self._monotonic() - self._begun_at) * 1000)
        await self._watch.after_downtime(self._last_alive_at, up_for=up_for)
        self._has_recovered = True

    def _start_parts(self) -> None:
        if self._arrival is not None:
            self._parts.start("store", self._arrival.run())
        self._parts.start("intake", self._intake.run())
        self._parts.start("drain", self._intake.drain())
        self._parts.start("applier", self._applier.run())
        self._parts.start("recorder", self._recorder.run())
        self._parts.start("sweeper", self._sweeper.run())
        for chore in self._chores:
            self._parts.start(chore.name, chore.run())
        if self._deliverer is not None:
            self._parts.start_kept_alive("deliverer", self._deliverer.run)
        self._wake()

    def _tell_ready(self, listening: socket.socket) -> None:
        settings = self._settings
        scheme = "https" if settings.listener.tls else "http"
        if not settings.listener.authorization and not settings.listener.allow_from:
            self._log.warning("callbacks_unauthenticated")
        if settings.heartbeat is not None:
            self._log.warning("setting_without_effect", key="heartbeat")
        self.listener_url = addresses([listening], scheme)
        self.is_ready.set()
        self._log.info(
            "ready",
            listener=self.listener_url,
            admin=self._admin.url if self._admin else None,
            instance=self._vitals.instance_id,
            duration_ms=round((self._monotonic() - self._begun_at) * 1000),
        )

    async def _stop(self, listening: socket.socket, scheduler: AsyncIOScheduler | None) -> None:
        """Stop in the order that loses nothing: first what comes in, last what is written down."""
        parts = self._parts
        parts.begin_stop()
        if self._arrival is not None:
            self._arrival.stop()
        if scheduler is not None:
            scheduler.shutdown(wait=False)
        self._sweeper.stop()
        for chore in self._chores:
            chore.stop()
        await self._listener.stop()
        listening.close()
        self._intake.stop()
        await parts.finish("intake", "drain")
        self._applier.stop()
        await parts.finish("sweeper", "applier")
        self._recorder.stop()
        await parts.finish("recorder")
        if self._deliverer is not None:
            self._deliverer.stop()
        await parts.finish()
        if self._admin is not None:
            await self._admin.stop()
        await self._close_sessions()
        with suppress(StoreError):
            await self._beat()
            await self._store.roster.sign_off(self._vitals.instance_id)
        self._spool.close()
        self._log.info(
            "stopped",
            duration_ms=round(parts.stopping_for * 1000),
            log_lines_dropped=self._logs.dropped,
        )

    async def _close_sessions(self) -> None:
        await self._session.close()
        if self._delivery_session is not None:
            await self._delivery_session.close()

    async def _tick(self) -> bool:
        if not self._has_recovered:
            await self._recover()
        has_more = await self._watch.tick()
        await self._applier.recover()
        self._applied()
        return has_more

    async def _beat(self) -> None:
        await self._clock.correct()
        if not self._is_introduced:
            await self._introduce()
        await self._vitals.beat()
        if self._assure_path.is_proven:
            await self._store.roster.remember({_ASSURE_PATH: self._endpoint.fingerprint()})

    async def _introduce(self) -> None:
        """Learn what the store remembers, before our first heartbeat says that one is alive."""
        roster = self._store.roster
        if await roster.fact(_ASSURE_PATH) == self._endpoint.fingerprint():
            self._assure_path.proven()
        self._last_alive_at = await roster.last_alive_at()
        self._is_introduced = True

    async def _summarize(self) -> None:
        await self._vitals.summarize(self._logs.dropped)

    async def _readiness(self) -> Readiness:
        if self._parts.is_stopping:
            return Readiness(False, reason="stopping")
        return await self._vitals.readiness()

    def _stale_loops(self) -> list[str]:
        now = self._monotonic()
        limits = {chore: max(STALE, 3 * every) for chore, every in self._chores.items()}
        return [chore.name for chore, limit in limits.items() if now - chore.ran_at > limit]

    def _build_admin(self, secrets: Secrets) -> AdminServer | None:
        listen = self._settings.admin.listen
        if not listen:
            return None
        health = Health(
            stale_loops=self._stale_loops, check=self._readiness, monotonic=self._monotonic
        )
        api = Api(
            registry=self._store.registry,
            views=self._store.views,
            work=self._store.work,
            roster=self._store.roster,
            health=health,
            rules=self._get_rules,
            now=self._now,
            on_change=self._wake,
            log=self._log,
            own=self._vitals.instance,
        )
        outbox = OutboxApi(
            self._store.outbox, now=self._now, on_change=self._applied, log=self._log
        )
        return AdminServer(
            [*api.routes(), *outbox.routes()],
            host=listen.host,
            port=listen.port,
            unix_path=listen.unix or None,
            token=secrets.admin_token,
            log=self._log,
        )

    def _wake(self) -> None:
        """Something may have become due: look now instead of with the next tick."""
        for chore in self._chores:
            if chore.name == "sweep":
                chore.wake()

    def _get_rules(self) -> Any:
        return self._rules

    def _applied(self) -> None:
        self._sweeper.wake()
        if self._deliverer is not None:
            self._deliverer.wake()

    def _stored(self, receipts: Sequence[Receipt]) -> None:
        self._vitals.stored(len(receipts))
        self._callback_path.came()
        self._applier.submit(receipts)

    def _recorded(self, outcomes: Sequence[Outcome]) -> None:
        self._vitals.recorded(outcomes)
        self._callback_path.recorded(outcomes)
        self._applied()
