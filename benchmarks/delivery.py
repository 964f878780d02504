"""``delivery``: an outbox full of results, to a receiver that answers at once.

The reference is the bare aiohttp client in the same process, against the same receiver with the
same concurrency and the same bodies: nothing is leased, signed or written down. The benchmark
runs on the daemon's event loop where there is one.
"""

import asyncio
import sqlite3
import time
from contextlib import closing

import aiohttp
import structlog

from benchmarks.children import python, until
from benchmarks.figures import Figure, ratio
from benchmarks.yard import Place, Yard, now
from reconciler.delivery.deliverer import Deliverer
from reconciler.delivery.sender import Patience, Sender
from reconciler.delivery.signing import Signer
from reconciler.ledger import Backoff, TrackedProcess
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.session import build_session
from reconciler.outbound.transport import Transport
from reconciler.store.opening import open_store
from reconciler.store.outbox import delivery_row

TARGET = 0.7
CONCURRENCY = 8
"""The default of ``delivery.max_concurrency``."""

PATH = "/events"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FULL, QUICK = (10_000, 3), (200, 1)
"""Deliveries in one round, and rounds."""

_FILL = (
    "INSERT INTO deliveries (webhook_id, process_id, type, payload, created_at, state, "
    "pending_since, attempts, next_attempt_at) VALUES (:webhook_id, :process_id, :type, :payload, "
    ":created_at, :state, :pending_since, :attempts, :next_attempt_at)"
)


async def measure(yard: Yard, *, quick: bool) -> list[Figure]:
    """Deliver the same results by both ways in turn."""
    count, rounds = QUICK if quick else FULL
    place = await yard.place()
    rates = []
    async with python(place.folder, "-m", "benchmarks.bare", PATH) as receiver:
        url = str((await receiver.line_with(b'"listener"'))["listener"]) + PATH
        for run in range(rounds):
            yard.say(f"round {run + 1} of {rounds}")
            payloads = _fill(place, count, run)
            reference = count / await _bare(url, payloads)
            rates.append((count / await _ours(place, url), reference))
    title = f"deliveries a second ÷ bare aiohttp client, {CONCURRENCY} at once"
    return [ratio(title, rates, at_least=TARGET)]


def _fill(place: Place, count: int, run: int) -> list[bytes]:
    """Put ``count`` results into the outbox and return their bodies."""
    at = now()
    rows = []
    for serial in range(count):
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


async def _bare(url: str, payloads: list[bytes]) -> float:
    """Post ``payloads`` with nothing but the client; returns seconds."""
    left = iter(payloads)
    headers = {"Content-Type": "application/json"}

    async def post(session: aiohttp.ClientSession) -> None:
        for payload in left:
            async with session.post(url, data=payload, headers=headers) as answer:
                assert answer.status == 200

    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector) as session:
        begun = time.perf_counter()
        await asyncio.gather(*(post(session) for _ in range(CONCURRENCY)))
        return time.perf_counter() - begun


async def _ours(place: Place, url: str) -> float:
    """Deliver what is in the outbox; returns seconds until the last is written down."""
    log = structlog.wrap_logger(structlog.ReturnLogger(), processors=[lambda *_: ""])
    store = await open_store(f"sqlite:///{place.store}", is_daemon=True)
    session = build_session(ca_file="", max_concurrency=CONCURRENCY)
    breaker = Breaker(log=log)
    sender = Sender(
        url,
        Transport(session, log, timeout=15.0),
        Signer([SECRET], {}),
        patience=Patience(Backoff(), 3_600_000),
        breaker=breaker,
        now=now,
        monotonic=time.monotonic,
        log=log,
    )
    deliverer = Deliverer(
        store.outbox,
        sender,
        breaker=breaker,
        owner="benchmark",
        max_concurrency=CONCURRENCY,
        lease_length=60_000,
        now=now,
        monotonic=time.monotonic,
        log=log,
    )

    async def is_done() -> bool:
        return (await store.views.counts()).deliveries_pending == 0

    begun = time.perf_counter()
    running = asyncio.create_task(deliverer.run())
    deliverer.wake()
    try:
        await until(is_done, every=0.1)
        return time.perf_counter() - begun
    finally:
        deliverer.stop()
        await running
        await session.close()
        await store.database.close()
