"""Three daemons on one PostgreSQL, of which one is killed and one is frozen in the middle of it."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from reconciler.simulator import Faults
from tests.postgres import Databases

PATIENCE = 120.0
AUTHORIZATION = {"Authorization": "Bearer canary-authorization-7f3a"}
ADMIN = {"Authorization": "Bearer canary-admin-token-c2d4"}
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
PROCESSES = 3_000
RATE, BURST = 120, 12
WAY = 0.1
"""Seconds by which the ways of two calls may differ, from where we count them to where Assure does.
So many calls of one second can arrive within a second less that."""

SHARED = {
    "RECONCILER_ASSURE__REQUESTS_PER_SECOND": str(RATE),
    "RECONCILER_ASSURE__TIMEOUT": "2s",  # so a lease is 8 s
    "RECONCILER_ASSURE__MAX_CONCURRENCY": "64",
    "RECONCILER_RECONCILE__LADDER": '["fetch"]',
    "RECONCILER_RECONCILE__SWEEP_INTERVAL": "1s",
    "RECONCILER_DELIVERY__TIMEOUT": "5s",
    "RECONCILER_DELIVERY__SECRET": "whsec_" + "c2VjcmV0" * 4,
}


@pytest.fixture
def url(databases: Databases) -> Iterator[str]:
    name = databases.create()
    yield databases.url(name)
    databases.drop(name)


@pytest.fixture
async def receiver() -> AsyncIterator[BaseTestServer]:
    async def take(_request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    async with TestServer(app) as server:
        yield server


@asynccontextmanager
async def watched_loop() -> AsyncIterator[list[float]]:
    """The seconds by which our own loop, and with it the far side's clock, was late at most."""
    late = [0.0]

    async def watch() -> None:
        while True:
            expected = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            late[0] = max(late[0], time.monotonic() - expected)

    watching = asyncio.create_task(watch())
    try:
        yield late
    finally:
        watching.cancel()


def most_in(window: float, times: list[float]) -> int:
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.timeout(300)
@pytest.mark.parametrize("faults", [Faults(lose_callbacks=1.0, latency=0.3)])
async def test_with_one_killed_and_one_frozen_each_process_is_settled_once_and_the_rate_is_kept(
    here: Any,
    client: aiohttp.ClientSession,
    receiver: BaseTestServer,
    databases: Databases,
    url: str,
) -> None:
    name = url.rpartition("/")[2]

    async def rows(query: str) -> list[tuple[Any, ...]]:
        # In a thread: our loop is the far side, and its clock.
        return await asyncio.to_thread(databases.look, name, query)

    async def until(query: str, value: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while (await rows(query))[0][0] != value:
                await asyncio.sleep(0.2)

    async def start(number: int) -> Any:
        environ = {
            "RECONCILER_STORE__URL": url,
            "RECONCILER_STORE__SPOOL": str(here.directory / f"spool-{number}"),  # as on its own VM
            "RECONCILER_DELIVERY__URL": str(receiver.make_url("/")),
        }
        return await here.start(**SHARED, **environ)

    made = [here.world.add() for _ in range(PROCESSES)]
    for process in made:
        here.world.finish(process.process_id)
    acknowledged: list[str] = []

    async def call_back(daemon: Any, part: list[Any]) -> None:
        for process in part:
            body = {
                "dossierId": process.dossier_id,
                "processId": process.process_id,
                "status": process.final_status,
            }
            try:
                async with client.post(
                    daemon.callback_url, json=body, headers=AUTHORIZATION
                ) as answer:
                    assert answer.status == 200
            except aiohttp.ClientError:
                return  # it was killed
            acknowledged.append(process.process_id)

    async with watched_loop() as late:
        # All three come to an empty database at once, and migrate it.
        one, killed, frozen = [await start(number) for number in range(3)]
        for daemon in (one, killed, frozen):
            await daemon.ready()
        for begin in range(0, PROCESSES, 1_000):
            batch = [
                {
                    "dossierId": process.dossier_id,
                    "processId": process.process_id,
                    # Each due at a time of its own: what a lost lease frees is next in turn.
                    "createdAt": (LONG_AGO + timedelta(seconds=number)).isoformat(),
                }
                for number, process in enumerate(made[begin : begin + 1_000], begin)
            ]
            async with client.post(
                f"{one.admin_url}/v1/processes", json=batch, headers=ADMIN
            ) as answer:
                assert answer.status == 201

        # Each has settled some of them: the silence of those that came is over.
        for daemon in (one, killed, frozen):
            await daemon.said("process_settled", 50)
        calling = [
            asyncio.create_task(call_back(daemon, made[-200 * n : -200 * n + 150 or None]))
            for n, daemon in ((1, one), (2, killed))
        ]
        await killed.said("callback_received", 20)
        killed.process.send_signal(signal.SIGKILL)
        frozen.process.send_signal(signal.SIGSTOP)
        await asyncio.gather(*calling)
        settled = "SELECT count(*) FROM processes WHERE state = 'settled'"
        assert (await rows(settled))[0][0] < PROCESSES
        instance = frozen.named("ready")[0]["instance"]
        holds = f"SELECT count(*) FROM processes WHERE lease_owner = '{instance}'"
        assert (await rows(holds))[0][0]  # it had calls on the way
        # Until its leases have gone to others and its share has run out.
        await until(holds, 0)
        beaten_at = f"SELECT heartbeat_at FROM instances WHERE instance_id = '{instance}'"
        run_out_at = (await rows(beaten_at))[0][0] / 1000 + 10.5
        while time.time() < run_out_at:
            await asyncio.sleep(0.1)
        frozen.process.send_signal(signal.SIGCONT)
        await frozen.said("share_lost")
        await until(settled, PROCESSES)
        await until("SELECT count(*) FROM deliveries WHERE state <> 'delivered'", 0)

    assert await rows("SELECT DISTINCT state FROM processes") == [("settled",)]
    truth = {process.process_id: process.final_status for process in made}
    assert dict(await rows("SELECT process_id, status FROM processes")) == truth
    once = [(1, PROCESSES)]
    counted = (
        "SELECT n, count(*) FROM (SELECT count(*) AS n FROM {} GROUP BY process_id) x GROUP BY n"
    )
    assert await rows(counted.format("timeline WHERE event = 'process_settled'")) == once
    assert await rows(counted.format("deliveries")) == once
    assert len(acknowledged) > 20
    applied = "SELECT process_id FROM callbacks WHERE outcome IS NOT NULL"
    assert {row[0] for row in await rows(applied)} >= set(acknowledged)

    assert set(here.world.max_in_flight.values()) == {1}
    arrived = [call.at for call in here.world.calls if call.kind in ("fetch", "notify")]
    assert most_in(1.0 - WAY - late[0], arrived) <= RATE + BURST
    assert frozen.named("result_dropped")
    assert not one.named("result_dropped")
    assert await one.stop() == 0
    assert await frozen.stop() == 0
    assert one.stderr == frozen.stderr == ""


async def test_on_sqlite_a_daemon_is_alone_whatever_rows_a_killed_one_has_left(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    daemon = await here.running()
    assert here.rows("SELECT count(*) FROM instances") == [(2,)]  # of which both count as alive
    process = here.world.add(callback="lose")
    here.world.finish(process.process_id)
    body = {
        "dossierId": process.dossier_id,
        "processId": process.process_id,
        "createdAt": LONG_AGO.isoformat(),
    }
    async with client.post(f"{daemon.admin_url}/v1/processes", json=body, headers=ADMIN) as answer:
        assert answer.status == 201
    await daemon.said("process_settled")
    # Nothing was waited for: this is said by those that share, before they call.
    assert daemon.named("share_changed") == []
