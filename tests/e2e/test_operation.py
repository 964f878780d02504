import asyncio
import json
import signal
from typing import Any

import aiohttp
import pytest

from reconciler.simulator import CANARIES, TOKEN_PREFIX, Faults

ADMIN = {"Authorization": "Bearer canary-admin-token-c2d4"}
SECRETS = (
    "canary-authorization-7f3a",
    "canary-client-secret-91bc",
    "canary-admin-token-c2d4",
    TOKEN_PREFIX,
)


@pytest.mark.fault("the store", "is held by another daemon")
async def test_a_second_daemon_on_the_same_file_is_refused_in_one_line(here: Any) -> None:
    first = await here.running()
    second = await here.start()
    assert await second.stop(signal.SIGCONT) == 1
    (line,) = second.stderr.splitlines()
    assert f"process {first.process.pid}" in line
    assert "PostgreSQL" in line
    assert await first.stop() == 0


async def test_a_taken_port_is_told_in_one_line(here: Any) -> None:
    first = await here.running()
    port = first.callback_url.split(":")[2].split("/")[0]
    here.config.write_text(here.config.read_text().replace("store.db", "other.db"))
    second = await here.start(RECONCILER_LISTENER__PORT=port)
    assert await second.stop(signal.SIGCONT) == 1
    (line,) = second.stderr.splitlines()
    assert "in use" in line
    assert port in line


async def test_a_certificate_that_cannot_be_used_is_a_mistake_of_the_configuration(
    here: Any,
) -> None:
    tls = '{"certificate": "/nowhere/c.pem", "key": "/nowhere/k.pem"}'
    daemon = await here.start(RECONCILER_LISTENER__TLS=tls)
    assert await daemon.stop(signal.SIGCONT) == 78
    certificate, key = daemon.stderr.splitlines()
    assert "listener.tls.certificate" in certificate
    assert "/nowhere/c.pem" in certificate
    assert "listener.tls.key" in key


@pytest.mark.fault("the store", "is corrupt at the start")
async def test_a_corrupt_store_is_refused_in_one_line_and_left_as_it_is(here: Any) -> None:
    here.store.write_bytes(b"this is no database" * 1000)
    daemon = await here.start()
    assert await daemon.stop(signal.SIGCONT) == 1
    (line,) = daemon.stderr.splitlines()
    assert "corrupt" in line
    assert here.store.read_bytes() == b"this is no database" * 1000
    assert [path.name for path in here.directory.glob("store.db*")] == ["store.db"]


async def test_every_fault_of_the_configuration_is_told_at_once_with_exit_code_78(
    here: Any,
) -> None:
    text = here.config.read_text().replace('"500ms"', '"15 parrots"', 1)
    here.config.write_text(text.replace("sweep_interval", "sweep_intervall"))
    daemon = await here.start()
    assert await daemon.stop(signal.SIGCONT) == 78
    lines = daemon.stderr.splitlines()
    assert any("reconcile.callback_timeout" in line and "15 parrots" in line for line in lines)
    assert any("did you mean reconcile.sweep_interval" in line for line in lines)


async def test_a_second_signal_ends_the_daemon_at_once(here: Any) -> None:
    here.world.faults.hang = 1.0
    daemon = await here.running(RECONCILER_ASSURE__TIMEOUT="1m")
    process = here.world.add(callback="lose")
    await here.command("track", process.dossier_id, process.process_id)
    await here.until(lambda: bool(here.rows("SELECT 1 FROM processes WHERE lease_owner NOT NULL")))
    daemon.process.send_signal(signal.SIGTERM)
    await daemon.said("stopping")
    assert await daemon.stop(signal.SIGTERM) == 1


@pytest.mark.parametrize("faults", [Faults(lose_callbacks=0.5, server_error=0.2)])
async def test_no_secret_and_nothing_personal_is_logged_or_stored(
    here: Any, client: aiohttp.ClientSession, faults: Faults
) -> None:
    daemon = await here.running(RECONCILER_LOG__LEVEL="debug")
    made = [here.world.add(finish_in=0.1) for _ in range(12)]
    items = [{"dossierId": p.dossier_id, "processId": p.process_id} for p in made]
    async with client.post(f"{daemon.admin_url}/v1/processes", json=items, headers=ADMIN) as answer:
        assert answer.status == 201
    wrong = {"Authorization": "Bearer canary-wrong-guess-55"}
    async with client.post(daemon.callback_url, json={}, headers=wrong) as answer:
        assert answer.status == 401
    body = {**items[0], "status": "accepted", "name": "Canaria Quillfeather"}
    right = {"Authorization": "Bearer canary-authorization-7f3a"}
    async with client.post(daemon.callback_url, json=body, headers=right) as answer:
        assert answer.status == 200
    await daemon.said("process_settled", 12)
    _, shown, told = await here.command("check-config")
    _, listed, _ = await here.command("list", "--json")
    assert len(json.loads(listed)["items"]) == 12
    assert await daemon.stop() == 0
    stored = here.stored_bytes()
    everything = "".join([*daemon.lines, daemon.stderr, shown, told, listed])
    for canary in (*SECRETS, *CANARIES, "canary-wrong-guess-55"):
        assert canary not in everything
        assert canary.encode() not in stored
    assert "Traceback" not in everything


async def test_health_follows_what_the_daemon_can_do(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    async with client.get(f"{daemon.admin_url}/live") as answer:
        assert answer.status == 200

    async def degraded() -> str:
        async with client.get(f"{daemon.admin_url}/ready") as answer:
            assert answer.status == 200
            return " ".join((await answer.json())["degraded"])

    assert await degraded() == ""
    async with asyncio.timeout(60):
        with here.locked_store():
            while "spool" not in await degraded():
                await asyncio.sleep(0.1)
        while await degraded() != "":
            await asyncio.sleep(0.1)


async def test_the_api_tells_of_an_open_breaker_at_once(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    here.world.faults.token_refused = True
    process = here.world.add(callback="lose")
    await here.command("track", process.dossier_id, process.process_id)
    await daemon.said("breaker_opened")
    async with client.get(f"{daemon.admin_url}/v1/status", headers=ADMIN) as answer:
        status = await answer.json()
    assert status["breaker"] in ("open", "probing")
    assert status["lastSweepAt"] is not None


async def test_status_beside_the_daemon_tells_what_the_daemon_says_of_itself(here: Any) -> None:
    daemon = await here.running()
    code, out, _ = await here.command("status", "--json")
    status = json.loads(out)
    assert code == 0
    assert status["breaker"] == "closed"
    assert [instance["pid"] for instance in status["instances"]] == [daemon.process.pid]
    assert await daemon.stop() == 0
    _, out, _ = await here.command("status", "--json")
    assert json.loads(out)["instances"] == []
