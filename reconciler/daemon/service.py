"""One daemon: starts its parts, tells when it is ready, and stops them in order.

``build.py`` builds what runs here.
"""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from reconciler.admin.server import AdminServer
from reconciler.config import InForce
from reconciler.daemon.clients import Clients
from reconciler.daemon.membership import Membership
from reconciler.daemon.readiness import ReadinessCheck
from reconciler.daemon.recovery import Heartbeat
from reconciler.daemon.reload import Reloader
from reconciler.daemon.scheduler import Job, Scheduler
from reconciler.daemon.summary import Summary
from reconciler.daemon.tasks import Part, Runnable, Tasks
from reconciler.delivery.deliverer import Deliverer
from reconciler.inbound.bind import addresses, bind
from reconciler.inbound.build import Inbound
from reconciler.inbound.spool import Spool
from reconciler.outbound.ping import Ping
from reconciler.reconcile.build import Reconcile
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.postgres.wait_for_server import ServerWait
from reconciler.systemd.notify import Notifier
from reconciler.systemd.watchdog import Watchdog
from reconciler.telemetry.logging import LogSystem


@dataclass(frozen=True, slots=True)
class Built:
    """The parts of one daemon, and what it opens and closes around them."""

    current: Current[InForce]
    scheduler: Scheduler
    inbound: Inbound
    reconcile: Reconcile
    deliverer: Deliverer
    server_wait: ServerWait | None
    reloader: Reloader | None
    admin: AdminServer | None
    heartbeat: Heartbeat
    membership: Membership
    readiness: ReadinessCheck
    first_jobs: Sequence[Job]
    """The jobs that have something to do at the start."""
    summary: Summary
    clients: Clients
    ping: Ping
    spool: Spool
    notifier: Notifier
    watchdog: Watchdog


def _parts_in_the_order_of_the_stop(built: Built) -> list[Part]:
    """Return all parts: first those that begin new work, last those that write down results."""
    inbound, reconcile = built.inbound, built.reconcile
    first: list[tuple[str, Runnable | None]] = [
        ("reloader", built.reloader),
        ("store", built.server_wait),
    ]
    return [
        *(Part(name, work) for name, work in first if work is not None),
        Part("scheduler", built.scheduler),
        Part("sweeper", reconcile.sweeper),
        Part("listener", inbound.listener),
        Part("intake", inbound.intake, after=("listener",)),
        Part("drain", inbound.drain, after=("listener",)),
        Part("applier", inbound.applier, after=("intake", "drain")),
        Part("recorder", reconcile.recorder, after=("sweeper", "applier")),
        Part("deliverer", built.deliverer, after=("recorder",), is_kept_alive=True),
    ]


class Service:
    """One daemon on an open store."""

    def __init__(
        self,
        built: Built,
        *,
        ready: asyncio.Event,
        listening: socket.socket | None,
        instance_id: str,
        clock: Clock,
        logs: LogSystem,
    ) -> None:
        """``ready`` is set when callbacks are kept; ``listening`` comes from the manager."""
        self.built = built
        """The parts of this daemon, which the simulation of the tests drives one by one."""
        self._passed = listening
        self._instance_id = instance_id
        self._clock = clock
        self._logs = logs
        self._log = logs.logger
        self._tasks = Tasks(_parts_in_the_order_of_the_stop(built), clock, logs.logger)
        self._begun_at = clock.monotonic()
        self.is_ready = ready
        self.listener_url = ""
        """Where callbacks are taken, with the port really bound; set when ready."""

    def reload(self) -> None:
        """Read the configuration again as soon as may be."""
        if self.built.reloader is not None:
            self.built.reloader.ask()

    async def run(self, stop: asyncio.Event) -> bool:
        """Serve until ``stop`` is set; False when a part has failed. Raises OSError, StoreError."""
        self._begun_at = self._clock.monotonic()
        listening: list[socket.socket] = []
        try:
            listening = self._bind()
            with suppress(StoreUnavailableError):  # then a later heartbeat is the first
                await self.built.heartbeat.turn()
            async with self._tasks.running():
                await self._open(listening)
                await self._serve(stop, listening)
            await self._say_goodbye()
        finally:
            await self._close(listening)
        self._tell_stopped()
        return not self._tasks.failed.is_set()

    def _bind(self) -> list[socket.socket]:
        listener = self.built.current.value.settings.listener
        host, port = listener.host, listener.port
        try:
            return [self._passed] if self._passed else bind(host, port)
        except OSError as error:
            told = f"cannot listen on {host}:{port}: {error.strerror}"
            raise OSError(error.errno, told) from error

    async def _open(self, listening: Sequence[socket.socket]) -> None:
        """Take callbacks from now on, and have the jobs done that have something to do."""
        self.built.inbound.listener.open(*listening)
        if self.built.admin is not None:
            await self.built.admin.start()
        for job in self.built.first_jobs:
            job.bell.ring()

    async def _serve(self, stop: asyncio.Event, listening: Sequence[socket.socket]) -> None:
        """Tell readiness as soon as callbacks are kept; return when the stop begins."""
        ending = [asyncio.create_task(event.wait()) for event in (stop, self._tasks.failed)]
        try:
            while not any(task.done() for task in ending):
                if (await self.built.readiness.check()).is_ready:
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
        self.built.readiness.is_stopping = True
        self.built.notifier.stopping()
        self.built.notifier.status("stopping: what is in flight is finished")

    def _tell_ready(self, listening: Sequence[socket.socket]) -> None:
        in_force = self.built.current.value
        if in_force.access.is_open:
            self._log.warning("callbacks_unauthenticated")
        if in_force.secrets.short:
            self._log.warning("secret_short", keys=in_force.secrets.short)
        scheme = "https" if in_force.settings.listener.tls else "http"
        self.listener_url = addresses(listening, scheme)
        self.is_ready.set()
        self.built.notifier.status(f"takes callbacks on {self.listener_url}")
        self.built.notifier.ready()
        self.built.watchdog.start()
        self._log.info(
            "ready",
            listener=self.listener_url,
            admin=self.built.admin.url if self.built.admin else None,
            instance=self._instance_id,
            duration_ms=round((self._clock.monotonic() - self._begun_at) * 1000),
        )
        self.built.summary.bell.ring()  # a ping, for those who wait for one since the stop

    async def _say_goodbye(self) -> None:
        """Take this daemon's row away. A store that hangs may keep it: the row runs out."""
        if self._tasks.has_time:
            with suppress(StoreError):
                await self.built.membership.leave()

    async def _close(self, listening: Sequence[socket.socket]) -> None:
        for each in listening:
            each.close()
        if self.built.admin is not None:
            await self.built.admin.stop()
        await self.built.clients.close()
        await self.built.ping.stop()
        self.built.spool.close()
        self.built.watchdog.stop()

    def _tell_stopped(self) -> None:
        self._log.info(
            "stopped",
            duration_ms=round(self._tasks.stopping_for * 1000),
            log_lines_dropped=self._logs.dropped,
        )
