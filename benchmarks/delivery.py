"""``delivery`` delivers an outbox full of results to a receiver that answers at once.

The reference is the bare aiohttp client in the same process, against the same receiver, with the
same concurrency and the same requests to the last header: nothing is leased, signed, logged,
counted or written down. It runs on asyncio's event loop, as it does by itself, and then on that of
the daemon, uvloop, which makes it faster too. Each side delivers one before its time runs, so that
no connection is new.
"""

import asyncio
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

import aiohttp

from benchmarks.children import PATIENCE, python
from benchmarks.figures import Figure, ratio
from benchmarks.workspace import Place, Workspace, now
from reconciler.delivery.attempt import RetryPolicy
from reconciler.delivery.client import build_delivery_client
from reconciler.delivery.deliverer import Deliverer
from reconciler.delivery.signing import Signer
from reconciler.ledger import Backoff, TrackedProcess
from reconciler.outbound.session import build_session, trusting
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.database import Database
from reconciler.store.delivery_row import delivery_row
from reconciler.store.open import open_store
from reconciler.store.outbox import Attempt, Leased, Outbox
from reconciler.telemetry.logging import LogSystem
from reconciler.telemetry.metrics import Metrics

TARGET = 0.7
CONCURRENCY = 8
"""The default of ``delivery.max_concurrency``."""

PATH = "/events"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FULL, QUICK = (10_000, 7), (200, 1)
"""Deliveries in one round, and rounds."""

_FILL = (
    "INSERT INTO deliveries (webhook_id, process_id, type, payload, created_at, state, "
    "pending_since, attempts, next_attempt_at) VALUES (:webhook_id, :process_id, :type, :payload, "
    ":created_at, :state, :pending_since, :attempts, :next_attempt_at)"
)


async def measure(workspace: Workspace, *, quick: bool) -> list[Figure]:
    """Deliver the same results by both ways in turn."""
    count, rounds = QUICK if quick else FULL
    place = await workspace.place()
    rates, harder, costs = [], [], []
    async with python(place.folder, "-m", "benchmarks.bare", PATH) as receiver:
        url = str((await receiver.line_with(b'"listener"'))["listener"]) + PATH
        for run in range(rounds):
            workspace.say(f"round {run + 1} of {rounds}")
            ours, payloads = await _ours(place, url, count, run)
            bare = await asyncio.to_thread(asyncio.run, _bare(url, payloads))
            on_ours = await _bare(url, payloads)
            rates.append((1 / ours.seconds, 1 / bare.seconds))
            harder.append((1 / ours.seconds, 1 / on_ours.seconds))
            costs.append((1 / ours.processor, 1 / on_ours.processor))
    title = f"deliveries a second ÷ bare aiohttp client, {CONCURRENCY} at once"
    return [
        ratio(title, rates, at_least=TARGET),
        ratio("the same, with the bare client on our event loop", harder),
        ratio("that for a second of the main thread's processor time", costs),
    ]


class _Spent(NamedTuple):
    """The cost of one way. Processor time is the steadier figure where the machine is busy."""

    seconds: float
    processor: float
    """Seconds of the main thread."""


class _Stopwatch:
    """Measures the cost since it was made."""

    def __init__(self) -> None:
        self._begun = (time.perf_counter(), time.thread_time())

    def spent(self) -> _Spent:
        return _Spent(time.perf_counter() - self._begun[0], time.thread_time() - self._begun[1])


def _fill(place: Place, serials: range, run: int) -> list[bytes]:
    """Put so many results into the outbox and return their bodies."""
    at = now()
    rows = []
    for serial in serials:
        process = TrackedProcess(
            process_id=f"5f0c1a2b-7d3e-4c9a-{run:04d}-{serial:012d}",
            dossier_id=f"9e8d7c6b-5a4f-4e3d-{run:04d}-{serial:012d}",
            provider="onfido",
            registered_at=at,
            timeout_from=at,
        )
        rows.append(delivery_row(process, "process.settled", at))
    with closing(sqlite3.connect(place.store)) as connection, connection:
        connection.executemany(_FILL, rows)
    return [row["payload"].encode() for row in rows]


async def _bare(url: str, payloads: list[bytes]) -> _Spent:
    """Post ``payloads`` with nothing but the client."""
    left = iter(payloads)
    signed = Signer([SECRET], {}).headers("msg_" + 32 * "0", payloads[0].decode(), now())

    async def post(session: aiohttp.ClientSession, headers: Mapping[str, str]) -> None:
        for payload in left:
            async with session.post(url, data=payload, headers=headers) as answer:
                assert answer.status == 200

    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with (
        build_session(trusting(""), CONCURRENCY) as ours,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        headers = {**ours.headers, **signed}
        async with session.post(url, data=payloads[0], headers=headers) as answer:
            assert answer.status == 200
        watch = _Stopwatch()
        await asyncio.gather(*(post(session, headers) for _ in range(CONCURRENCY)))
        return watch.spent()


class _Outbox(Outbox):
    """The outbox; it sets ``is_done`` when ``left`` attempts have been written down."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.left = 0
        self.is_done = asyncio.Event()

    def expect(self, attempts: int) -> None:
        """Have ``is_done`` set when so many are written down."""
        self.left = attempts
        self.is_done.clear()

    async def record(
        self,
        attempts: Sequence[Attempt],
        unspent: Sequence[Leased] = (),
        *,
        owner: str,
        now: int,
        most: int = 0,
        length: int = 0,
    ) -> list[Leased]:
        leased = await super().record(
            attempts, unspent, owner=owner, now=now, most=most, length=length
        )
        self.left -= len(attempts)
        if not self.left:
            self.is_done.set()
        return leased


async def _ours(place: Place, url: str, count: int, run: int) -> tuple[_Spent, list[bytes]]:
    """Deliver ``count`` results, until the last is written down; return their bodies too."""
    store = await open_store(f"sqlite:///{place.store}", is_daemon=True)
    outbox = _Outbox(store.database)
    with (place.folder / "log").open("wb") as stream:
        logs = LogSystem(level="info", format="json", stream=stream)
        logs.tap(Metrics().note)
        news = Bell("news")
        deliverer = _deliverer(url, outbox, news, logs)
        running = asyncio.create_task(deliverer.run())
        try:
            async with asyncio.timeout(PATIENCE):
                for serials in (range(1), range(1, count + 1)):
                    payloads = _fill(place, serials, run)
                    outbox.expect(len(serials))
                    watch = _Stopwatch()
                    news.ring()
                    await outbox.is_done.wait()
            return watch.spent(), payloads
        finally:
            deliverer.stop()
            await running
            await store.database.close()
            logs.close(PATIENCE)


def _deliverer(url: str, outbox: Outbox, news: Bell, logs: LogSystem) -> Deliverer:
    """Return a deliverer with the daemon's defaults."""
    clock, log = Clock(), logs.logger
    client = build_delivery_client(
        url,
        trusting(""),
        secrets=[SECRET],
        headers={},
        retry=RetryPolicy(Backoff(), 3_600_000),
        timeout=15_000,
        max_concurrency=CONCURRENCY,
        proxy="",
        clock=clock,
        log=log,
    )
    return Deliverer(outbox, Current(client), news=news, owner="benchmark", clock=clock, log=log)
