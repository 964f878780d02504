"""One daemon of the simulation, from its start to its end, built by the daemon's own factories.

Six things are played, and nothing else: the loop and its time, the thread of aiosqlite, aiohttp's
client sessions, the kernel's side of the listening socket, APScheduler's timer, and random bytes.
"""

import asyncio
import logging
import math
import sqlite3
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, cast
from unittest.mock import patch

import orjson

from reconciler.config import Configuration
from reconciler.daemon.build import build_service
from reconciler.daemon.certificates import Certificates
from reconciler.daemon.scheduler import Job
from reconciler.daemon.service import Service
from reconciler.inbound.places import Places
from reconciler.ledger import Registration
from reconciler.operations.actor import Actor
from reconciler.operations.processes import register
from reconciler.store.errors import StoreError
from reconciler.store.maintenance.check import StoreCheck
from reconciler.store.open import Store, open_store
from reconciler.store.sqlite.database import SqliteDatabase
from tests.simulation.disk import Disk
from tests.simulation.http import Server, Session
from tests.simulation.plan import Callback, Ending, Subject
from tests.simulation.virtual_time import AWAKE, Crash, StuckError, VirtualLoop, World, WorldClock

AUTHORIZATION = "Bearer simulated"
PATH = "/callbacks/assure"

SELDOM = {"summary", "host_checks", "housekeeping", "action_log"}
"""The jobs that do nothing for a process; they are done each hour in which anything happens."""

TICK = 5.0
"""Seconds between two sweeps."""

_LEFT_BEHIND = 10_000
"""Milliseconds after which the daemon looks for a callback that was not applied."""

_DUE = """
    SELECT min(at) FROM (
        SELECT min(next_check_at) AS at FROM processes WHERE next_check_at > :now
        UNION ALL SELECT min(lease_until) FROM processes
            WHERE lease_until > :now AND next_check_at IS NOT NULL
        UNION ALL SELECT min(next_attempt_at) FROM deliveries WHERE next_attempt_at > :now
        UNION ALL SELECT min(lease_until) FROM deliveries
            WHERE lease_until > :now AND next_attempt_at IS NOT NULL
        UNION ALL SELECT min(received_at) + :left FROM callbacks
            WHERE outcome IS NULL AND received_at + :left > :now)
"""

_MISSED = """
    SELECT EXISTS (SELECT 1 FROM processes WHERE state = 'waiting' AND next_check_at <= :now)
        OR EXISTS (SELECT 1 FROM callbacks WHERE outcome IS NULL AND received_at + :left <= :now)
"""
"""Whether a tick has missed something, because the store or the clock was not well."""


class _Log:
    """The part of a structlog logger that the daemon uses; writes lines of the run's log."""

    def __init__(self, logs: "Logs", context: Mapping[str, Any]) -> None:
        self._logs = logs
        self._context = context

    def bind(self, **fields: Any) -> "_Log":
        return _Log(self._logs, {**self._context, **fields})

    def log(self, level: int, event: str, **fields: Any) -> None:
        self._logs.write(logging.getLevelName(level).lower(), self._context, event, **fields)

    def __getattr__(self, level: str) -> Callable[..., None]:
        return partial(self._logs.write, level, self._context)


class Logs:
    """Stands for the log system: hands events to the taps, and lines to the run."""

    dropped = 0
    is_dead = False
    """Whether the daemon was killed; then nobody hears it."""

    def __init__(self, world: World, faults: list[str]) -> None:
        self._world = world
        self._faults = faults
        self._taps: list[tuple[Callable[..., None], frozenset[str]]] = []
        self.logger = _Log(self, {})

    def tap(self, tap: Callable[..., None], *events: str) -> None:
        self._taps.append((tap, frozenset(events)))

    def write(self, level: str, context: Mapping[str, Any], event: str, **fields: Any) -> None:
        if self.is_dead:
            return
        for tap, events in self._taps:
            if not events or event in events:
                tap(level, event, fields)
        if level == "debug" or event in {"summary", "disk_low"}:  # what this machine has
            return
        error = fields.pop("exc_info", None)
        if error is not None:
            trace = "".join(traceback.format_exception(error))
            self._faults.append(f"an unhandled exception, {event}: {trace}")
        told = {**context, **{k: v for k, v in fields.items() if v is not None}}
        self._world.say(level, f"{event} {told}")


class _Ticker:
    """Rings the bells of the jobs at their times, in place of APScheduler."""

    def __init__(self, jobs: Sequence[Job], _log: object) -> None:
        self._loop = cast(VirtualLoop, asyncio.get_running_loop())
        self._is_running = True
        for job in jobs:
            self._wait(job)

    def _wait(self, job: Job) -> None:
        seconds = 3600.0 if job.name in SELDOM else job.seconds
        self._loop.look_later(seconds, lambda: self._ring(job), is_sweep=job.name == "sweep")

    def _ring(self, job: Job) -> None:
        if self._is_running:
            job.bell.ring()
            self._wait(job)

    def shutdown(self, *, wait: bool) -> None:
        self._is_running = wait

    def wakeup(self) -> None:
        pass


class _NoSocket:
    """A listening socket to which nobody connects through the kernel."""

    def setblocking(self, _is_blocking: bool) -> None:
        pass

    def fileno(self) -> int:
        return -1

    def accept(self) -> None:
        raise BlockingIOError

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 8080)

    def close(self) -> None:
        pass


class _Wire(asyncio.Transport):
    """One connection to the listener; the request is in it, and the answer comes out of it."""

    def __init__(self, answered: Callable[[bytes], None]) -> None:
        super().__init__({"peername": ("127.0.0.1", 50_000)})
        self._answered = answered
        self._answer = b""
        self._is_closed = False

    def write(self, data: Any) -> None:
        self._answer += bytes(data)
        if b"\r\n\r\n" in self._answer:
            self._answered(self._answer)

    def is_closing(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        self._is_closed = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class _Nobody:
    def retry(self) -> None:
        pass


@dataclass(slots=True)
class Servers:
    """The two that the daemon calls."""

    assure: Server
    application: Server


class Daemon:
    """A daemon that runs until its ending in the plan, or the end of the run."""

    def __init__(
        self,
        number: int,
        configuration: Configuration,
        store: Path,
        world: World,
        disk: Disk,
        servers: Servers,
        draw: Random,
        faults: list[str],
    ) -> None:
        """``faults``: where unhandled exceptions are noted."""
        self._number = number
        self._configuration = configuration
        self._store_path = store
        self._world = world
        self._disk = disk
        self._servers = servers
        self._draw = draw
        self._faults = faults
        self._logs = Logs(world, faults)
        self._clock = WorldClock(world)
        self._eyes = sqlite3.connect(store, isolation_level=None)
        self._loop = VirtualLoop(world, self._next_due, faults)
        self._stop: asyncio.Event | None = None
        self._service: Service | None = None
        self._store: Store | None = None
        self.acknowledged: list[tuple[float, Subject, Callback]] = []
        """The callbacks that were answered 200."""
        self.registered: set[str] = set()
        """The processes whose registration was acknowledged."""

    @property
    def is_ready(self) -> bool:
        """Whether it takes callbacks."""
        return self._service is not None and self._stop is not None and not self._stop.is_set()

    def run(self, ending: Ending | None, end: float) -> None:
        """Run until ``ending``, or in order until ``end``."""
        if ending is not None and not ending.is_orderly:
            self._world.at(ending.at, lambda: self._loop.crash_after(ending.steps))
        self._world.at(ending.at if ending and ending.is_orderly else end, self._ask_to_stop)
        self._world.wake()
        if ending is not None:  # the heartbeat is as fresh as a daemon's that does not sleep
            self._world.at(ending.at - AWAKE, self._world.wake)
        asyncio.set_event_loop(self._loop)
        try:
            with self._played():
                self._loop.run_until_complete(self._main())
        except Crash:
            self._world.say("machine", "crash")
        except StoreError as error:
            self._world.say("machine", f"cannot start: {error}")
        except StuckError as error:
            self._faults.append(str(error))
            self._world.now = end
        finally:
            asyncio.set_event_loop(None)
            self._bury()

    def take(self, subject: Subject, callback: Callback) -> None:
        """Bring a callback, as Assure posts it."""
        assert self._service is not None
        body = orjson.dumps(
            {
                "dossierId": callback.dossier,
                "processId": subject.process_id,
                "status": callback.status,
            }
        )
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: listener\r\nAuthorization: {AUTHORIZATION}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )

        def answered(answer: bytes) -> None:
            status = answer.split(b" ", 2)[1].decode()
            told = f"{subject.process_id} {callback.status} -> {status}"
            self._world.say("callback", told)
            if status == "200":
                self.acknowledged.append((self._world.now, subject, callback))

        place = Places(1000, _Nobody()).take()
        connection = self._service.built.inbound.listener.connection(place)
        connection.connection_made(_Wire(answered))
        connection.data_received(head.encode() + body)

    def register(self, subject: Subject) -> None:
        """Put a process on the ledger, as the application does."""
        self._loop.create_task(self._register(subject))

    async def _register(self, subject: Subject) -> None:
        assert self._service is not None
        assert self._store is not None
        built = self._service.built
        log: Any = self._logs.logger
        actor = Actor("api", self._store, built.current, self._clock, log, is_daemon=True)
        registration = Registration(subject.process_id, subject.dossier_id, by="api")
        with suppress(StoreError):  # then the application tries again
            done = await register(actor, [registration])
            self.registered.add(subject.process_id)
            built.first_jobs[0].bell.ring()  # the sweep's, as the admin API does
            self._world.say("register", f"{subject.process_id} {done.created}")

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        url = self._configuration.secrets.store_url
        logs: Any = self._logs
        store = await open_store(url, is_daemon=True)
        try:
            listening: Any = _NoSocket()
            self._service = build_service(
                self._configuration,
                Certificates(trusted={"assure": None, "delivery": None}),  # type: ignore[dict-item]
                store,
                logs,
                clock=self._clock,
                listening=listening,
            )
            self._store = store
            if not await self._service.run(self._stop):
                self._faults.append("a part of the daemon has failed")
        finally:
            self._service = None
            await store.database.close()

    def _ask_to_stop(self) -> None:
        if self._stop is not None:
            self._stop.set()

    @contextmanager
    def _played(self) -> Iterator[None]:
        def session(server: Server) -> Callable[..., Session]:
            return lambda *_, **__: Session(server, self._number)

        played = {
            "os.urandom": self._draw.randbytes,
            "reconciler.store.sqlite.database.connect_to": self._disk.connect_to,
            "reconciler.reconcile.assure_connection.build_session": session(self._servers.assure),
            "reconciler.delivery.client.build_session": session(self._servers.application),
            "reconciler.daemon.build.build_session": session(self._servers.assure),
            "reconciler.daemon.build.trusting": lambda _: None,
            "reconciler.daemon.scheduler._ticker": _Ticker,
        }
        with ExitStack() as stack:
            for name, stand_in in played.items():
                stack.enter_context(patch(name, stand_in))
            yield

    def _next_due(self) -> float:
        world = self._world
        values = {"now": world.wall, "left": _LEFT_BEHIND}
        if self._eyes.execute(_MISSED, values).fetchone()[0]:
            return world.now + TICK
        (at,) = self._eyes.execute(_DUE, values).fetchone()
        return math.inf if at is None else world.now + (at - world.wall) / 1000

    def _bury(self) -> None:
        """Let go of everything at once: nothing of a killed process runs any more."""
        if self._service is not None:
            self._service.built.spool.close()  # the kernel frees the locks of a killed process
        self._service = None
        self._eyes.close()
        self._logs.is_dead = True
        self._disk.crash()
        self._loop.stop_for_ever()

    def forget(self) -> None:
        """Let go of what a killed daemon has left in memory, when no daemon runs any more.

        SQLAlchemy would close its connections in the middle of the next daemon.
        """
        self._loop.forget()


async def _checked(store: Path) -> list[str]:
    database = SqliteDatabase(store, checkpoints=False, read_only=True)
    await database.open()
    try:
        return [
            f"{found.table} {found.process_id}: {found.what}"
            async for page in StoreCheck(database).pages()
            for found in page
        ]
    finally:
        await database.close()


def check_db(store: Path, draw: Random) -> list[str]:
    """Return what ``check-db`` finds in a store that nobody has open."""
    world = World()
    disk, loop = Disk(draw), VirtualLoop(world, lambda: math.inf, [])
    asyncio.set_event_loop(loop)
    try:
        with patch("reconciler.store.sqlite.database.connect_to", disk.connect_to):
            return loop.run_until_complete(_checked(store))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def rows(store: Path, query: str) -> list[dict[str, Any]]:
    """Return the rows of a query on a store that nobody has open."""
    with closing(sqlite3.connect(store)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]
