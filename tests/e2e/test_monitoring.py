"""A running daemon seen from outside: metrics, page, ping."""

import asyncio
import json
import random
import string
from collections import Counter
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from reconciler.simulator import Faults
from reconciler.telemetry.metric_catalogue import CATALOGUE

TOKEN = "canary-admin-token-c2d4"
AUTHORIZATION = "Bearer canary-authorization-7f3a"
PING = "canary-of-the-ping-4b1d"
PROCESSES = 20
REFUSED = "reconciler_callbacks_rejected_total"


@pytest.fixture
def faults() -> Faults:
    return Faults(lose_callbacks=0.5)


async def scrape(client: aiohttp.ClientSession, daemon: Any) -> dict[tuple[str, str], float]:
    """Return every sample by name and the values of its labels, in the order of their names."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with client.get(f"{daemon.admin_url}/metrics", headers=headers) as response:
        assert response.status == 200
        return {
            (sample.name, ",".join(dict(sorted(sample.labels.items())).values())): sample.value
            for family in text_string_to_metric_families(await response.text())
            for sample in family.samples
        }


async def test_the_metrics_of_a_run_agree_with_its_log(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    made = [here.world.add(finish_in=0.02 * n) for n in range(PROCESSES)]
    found = [{"dossierId": p.dossier_id, "processId": p.process_id} for p in made]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"{daemon.admin_url}/v1/processes"
    async with client.post(url, json=found, headers=headers) as response:
        assert response.status == 201
    async with client.post(daemon.callback_url, data=b"{}") as response:
        assert response.status == 401
    await daemon.said("process_settled", count=PROCESSES)

    samples = await scrape(client, daemon)

    logged = Counter(line["event"] for line in daemon.events)
    settled = Counter(line["by"] for line in daemon.named("process_settled"))
    assert samples["reconciler_processes", "settled"] == PROCESSES
    assert samples["reconciler_process_changes_total", "registered"] == PROCESSES
    assert samples["reconciler_process_changes_total", "overdue"] == logged["process_overdue"] > 0
    for by in ("callback", "notify", "fetch"):
        assert samples["reconciler_settlements_total", by] == settled[by]
    assert samples["reconciler_callbacks_kept_total", "store"] == logged["callback_received"]
    acknowledged = samples["reconciler_callback_acknowledge_seconds_count", ""]
    assert acknowledged == logged["callback_received"]
    assert samples["reconciler_commit_callbacks_sum", ""] == logged["callback_received"]
    assert samples["reconciler_callbacks_rejected_total", "authorization_missing"] == 1
    assert samples["reconciler_assure_calls_total", "ok,fetch"] >= PROCESSES
    assert samples["reconciler_assure_calls_total", "ok,token"] == 1
    assert samples["reconciler_ready", ""] == samples["reconciler_store_up", ""] == 1
    assert samples["reconciler_last_sweep_age_seconds", ""] < 30
    assert samples["reconciler_disk_free_bytes", "spool"] > 0
    named = {name.removesuffix("_count").removesuffix("_sum").removesuffix("_bucket")
             for name, _ in samples if name.startswith("reconciler_")}  # fmt: skip
    assert named == {metric.name for metric in CATALOGUE}
    assert await daemon.stop() == 0


async def test_a_spooled_callback_and_a_store_that_is_gone_show_in_the_metrics(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    callback = {"dossierId": "d", "processId": "p", "status": "accepted"}
    headers = {"Authorization": AUTHORIZATION}
    with here.locked_store():
        async with client.post(daemon.callback_url, json=callback, headers=headers) as response:
            assert response.status == 200
        samples = await scrape(client, daemon)
        assert samples["reconciler_spooled_callbacks", ""] == 1
        assert samples["reconciler_callbacks_kept_total", "spool"] == 1
        assert samples["reconciler_events_total", "store_unavailable"] == 1
        assert samples["reconciler_ready", ""] == 1
    await daemon.said("spool_drained")

    samples = await scrape(client, daemon)

    assert samples["reconciler_spooled_callbacks", ""] == 0
    assert samples["reconciler_callbacks_kept_total", "store"] == 1
    assert await daemon.stop() == 0


async def test_whatever_strangers_send_makes_no_series(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    before = (await scrape(client, daemon)).keys()
    drawn = random.Random(7)

    def noise(most: int) -> str:
        return "".join(drawn.choices(string.ascii_letters + '{}"=,/_', k=drawn.randrange(1, most)))

    base = daemon.callback_url
    sent = 0
    for _ in range(60):
        method = drawn.choice(["POST", "GET", "PUT", "BREW"])
        url = URL(drawn.choice([base, f"{base}/{noise(20)}", f"{base}?{noise(20)}"]), encoded=False)
        body = drawn.choice([noise(99), json.dumps({"status": noise(9), noise(9): noise(9)})])
        headers = {"Authorization": drawn.choice([AUTHORIZATION, noise(20)])}
        async with client.request(method, url, data=body, headers=headers) as response:
            assert response.status in (400, 401, 404, 405)
            sent += 1
    reader, writer = await asyncio.open_connection(URL(base).host, URL(base).port)
    writer.write(b"no HTTP at all\r\n\r\n")
    await reader.read()
    writer.close()

    samples = await scrape(client, daemon)

    assert samples.keys() == before
    refused = {reason: n for (name, reason), n in samples.items() if name == REFUSED}
    assert sum(refused.values()) == sent + 1
    assert refused["other"] == 0
    assert await daemon.stop() == 0


async def test_the_page_of_a_real_daemon_is_there_for_a_browser(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    credentials = aiohttp.encode_basic_auth("anybody", TOKEN)

    async with client.get(
        daemon.admin_url + "/", headers={"Authorization": credentials}
    ) as response:
        text = await response.text()

    assert (response.status, response.content_type) == (200, "text/html")
    assert "last sweep" in text
    assert await daemon.stop() == 0


async def test_a_healthy_daemon_pings_from_its_first_summary_on_and_never_tells_where(
    here: Any, aiohttp_server: Any
) -> None:
    pings: list[str] = []

    async def take(request: web.Request) -> web.Response:
        pings.append(request.path)
        return web.Response(text="OK")

    app = web.Application()
    app.router.add_get("/{tail:.*}", take)
    server = await aiohttp_server(app)
    daemon = await here.running(
        RECONCILER_HEARTBEAT__URL=f"http://127.0.0.1:{server.port}/{PING}",
        RECONCILER_LOG__LEVEL="debug",
    )

    await daemon.said("summary")
    await here.until(lambda: pings == [f"/{PING}"])

    assert await daemon.stop() == 0
    assert PING not in "".join(daemon.lines) + daemon.stderr
