"""Whatever becomes of PostgreSQL: callbacks are answered 200 and kept, and drain on their own."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import aiohttp
import pytest

from tests.e2e.load import HEADERS, Load
from tests.e2e.place import Place
from tests.postgres import Server

TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ledger'"
Trouble = Callable[[Server], AbstractContextManager[None]]


async def readiness(client: aiohttp.ClientSession, daemon: Any) -> tuple[int, str]:
    async with client.get(f"{daemon.admin_url}/ready") as answer:
        return answer.status, await answer.text()


async def post(client: aiohttp.ClientSession, daemon: Any, process_id: str) -> int:
    body = {"dossierId": "d", "processId": process_id, "status": "accepted"}
    async with client.post(daemon.callback_url, json=body, headers=HEADERS) as answer:
        return answer.status


@pytest.mark.timeout(240)
@pytest.mark.fault("PostgreSQL", "crashes again and again under load", "store_unavailable")
async def test_crashes_under_load_lose_no_acknowledged_callback_and_double_none(
    here: Any, server: Server, place: Place, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running(**place.environ)
    async with Load(daemon.callback_url, senders=8, pause=0.02) as load:
        for number in range(4):
            await load.more(20 + 30 * number)
            await asyncio.to_thread(server.stop)
            await load.more(30)
            status, said = await readiness(client, daemon)
            assert status == 200
            assert "spool" in said
            await asyncio.to_thread(server.start)
            await daemon.said("store_recovered", number + 1)
    assert load.failed == []
    await here.until(lambda: place.is_all_applied(len(load.acknowledged)))
    place.assert_each_is_there_once(load.acknowledged)
    assert daemon.named("part_failed") == []
    assert await daemon.stop() == 0
    assert daemon.stderr == ""


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    server.freeze()
    try:
        yield
    finally:
        server.resume()


@contextmanager
def without_connections(server: Server) -> Iterator[None]:
    server.admin("ALTER ROLE ledger CONNECTION LIMIT 0")
    server.admin(TERMINATE)
    yield
    server.admin("ALTER ROLE ledger CONNECTION LIMIT -1")


@contextmanager
def read_only(server: Server) -> Iterator[None]:
    """As after a fail-over: connections to the old primary stay, and only new ones can write."""
    server.admin("ALTER ROLE ledger SET default_transaction_read_only = on")
    server.admin(TERMINATE)
    yield
    server.admin("ALTER ROLE ledger RESET default_transaction_read_only")


@contextmanager
def letting_nobody_in(server: Server) -> Iterator[None]:
    server.admin("ALTER ROLE ledger NOLOGIN")
    server.admin(TERMINATE)
    yield
    server.admin("ALTER ROLE ledger LOGIN")


@pytest.mark.parametrize("trouble", [frozen, without_connections, read_only, letting_nobody_in])
@pytest.mark.fault(
    "PostgreSQL",
    "is frozen, full of connections, read-only, or lets nobody in",
    "store_unavailable",
)
async def test_while_postgresql_cannot_be_used_callbacks_are_spooled_and_then_drain(
    here: Any,
    server: Server,
    place: Place,
    client: aiohttp.ClientSession,
    trouble: Trouble,
) -> None:
    daemon = await here.running(**place.environ)
    assert await post(client, daemon, "before") == 200
    await here.until(lambda: place.is_all_applied(1))
    with trouble(server):
        for number in range(3):
            assert await post(client, daemon, f"during-{number}") == 200
        status, said = await readiness(client, daemon)
        assert status == 200
        assert "store: " in said
        assert "callbacks go to the spool" in said
    await daemon.said("store_recovered")
    assert await post(client, daemon, "after") == 200
    await here.until(lambda: place.is_all_applied(5))
    place.assert_each_is_there_once({"before", "during-0", "during-1", "during-2", "after"})
    (reason,) = {line["reason"] for line in daemon.named("store_unavailable")}
    assert "ledger" not in reason.replace(place.database, "")
    assert await daemon.stop() == 0


@pytest.mark.fault("PostgreSQL", "is not there at the start", "store_unavailable")
async def test_a_daemon_starts_on_the_spool_where_postgresql_is_not_there_yet(
    here: Any, server: Server, place: Place, client: aiohttp.ClientSession
) -> None:
    await asyncio.to_thread(server.stop)
    daemon = await here.running(**place.environ)
    try:
        told = await daemon.said("store_unavailable")
        assert told["reason"].endswith(f"/{place.database}: connection refused")
        assert await post(client, daemon, "early") == 200
        status, said = await readiness(client, daemon)
        assert status == 200
        assert "connection refused" in said or "has not been reached yet" in said
        code, _, errors = await here.command("list", **place.environ)
        assert code == 1
        assert errors.endswith(f"/{place.database}: connection refused\n")
    finally:
        await asyncio.to_thread(server.start)
    await daemon.said("store_migrated")
    opened = await daemon.said("store_opened")
    assert (opened["synchronous_commit"], opened["fsync"]) == ("on", "UNSAFE")
    await daemon.said("spool_drained")
    await here.until(lambda: place.is_all_applied(1))
    place.assert_each_is_there_once({"early"})
    await here.until(lambda: place.rows("SELECT count(*) FROM instances") == [(1,)])
    assert await daemon.stop() == 0
    assert place.rows("SELECT count(*) FROM instances") == [(0,)]


async def test_a_store_that_is_there_later_and_of_a_newer_version_ends_the_daemon_not_the_spool(
    here: Any, server: Server, place: Place, client: aiohttp.ClientSession
) -> None:
    assert (await here.command("init-db", **place.environ))[0] == 0
    place.rows("UPDATE alembic_version SET version_num = '9999'")
    await asyncio.to_thread(server.stop)
    daemon = await here.running(**place.environ)
    try:
        assert await post(client, daemon, "early") == 200
    finally:
        await asyncio.to_thread(server.start)
    failed = await daemon.said("part_failed")
    assert failed["part"] == "store"
    assert "newer than this program's" in failed["detail"]
    await daemon.said("stopped")
    async with asyncio.timeout(60):
        assert await daemon.process.wait() == 1
    assert len(list((here.directory / "spool").glob("*.spool"))) == 1
    again = await here.start(**place.environ)
    async with asyncio.timeout(60):
        assert await again.process.wait() == 1
    assert "newer than this program's" in again.stderr


@pytest.mark.fault("PostgreSQL", "accepts and never answers", "store_unavailable")
async def test_a_server_that_accepts_and_never_answers_hinders_neither_start_nor_stop(
    here: Any, client: aiohttp.ClientSession
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        daemon = await here.running(
            RECONCILER_STORE__URL=f"postgresql://canary:canary@127.0.0.1:{port}/ledger"
        )
        told = await daemon.said("store_unavailable")
        assert told["reason"] == (
            f"cannot reach PostgreSQL at 127.0.0.1:{port}/ledger: no answer in time"
        )
        assert await post(client, daemon, "p1") == 200
        assert (await readiness(client, daemon))[0] == 200
        assert await daemon.stop() == 0
    assert not any("canary:" in line for line in daemon.lines)
    assert len(list((here.directory / "spool").glob("*.spool"))) == 1


async def test_commands_work_beside_a_daemon_and_a_second_daemon_shares_the_store(
    here: Any, place: Place, client: aiohttp.ClientSession
) -> None:
    one, two = await asyncio.gather(here.running(**place.environ), here.running(**place.environ))
    assert len(one.named("store_migrated")) + len(two.named("store_migrated")) == 1
    assert (await here.command("track", "d", "by-hand", **place.environ))[0] == 0
    assert (await here.command("init-db", **place.environ))[2].endswith("up to date\n")
    for number, daemon in enumerate((one, two)):
        assert await post(client, daemon, f"p{number}") == 200
    await here.until(lambda: place.is_all_applied(2))
    code, out, _ = await here.command("list", "--json", **place.environ)
    assert code == 0
    assert all(process_id in out for process_id in ("by-hand", "p0", "p1"))
    await here.until(lambda: place.rows("SELECT count(*) FROM instances") == [(2,)])
    assert (await one.stop(), await two.stop()) == (0, 0)


async def test_a_server_that_hangs_does_not_hold_up_a_stop_and_the_next_daemon_drains(
    here: Any, server: Server, place: Place, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running(**place.environ)
    with frozen(server):
        assert await post(client, daemon, "during") == 200
        assert await daemon.stop() == 0
        assert daemon.named("stop_cut_short") == []
        assert daemon.stderr == ""
    following = await here.running(**place.environ)
    await following.said("spool_drained")
    await here.until(lambda: place.is_all_applied(1))
    place.assert_each_is_there_once({"during"})
    assert await following.stop() == 0
