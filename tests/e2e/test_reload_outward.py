"""SIGHUP, as an operator sends it: what goes outward afterwards, and by which rules."""

import asyncio
import json
from pathlib import Path
from typing import Any

from aiohttp import web


async def test_another_policy_decides_the_due_times_from_then_on(here: Any) -> None:
    here.edit(('"500ms"', '"1h"'))
    daemon = await here.running()
    patient = here.world.add(callback="lose", finish_in=0.0)
    await here.command("track", patient.dossier_id, patient.process_id)
    here.edit(('"1h"', '"500ms"'), ("[store]", 'ladder = ["fetch"]\n[store]'))
    said = await daemon.hang_up()
    assert said["changed"] == ["reconcile.callback_timeout", "reconcile.ladder"]
    hasty = here.world.add(callback="lose", finish_in=0.0)
    await here.command("track", hasty.dossier_id, hasty.process_id)
    settled = await daemon.said("process_settled")
    assert settled["process_id"] == hasty.process_id
    assert settled["by"] == "fetch"
    assert daemon.named("notify_requested") == []
    # A process that was waiting already waits as long as was decided when it came.
    rows = here.rows("SELECT process_id FROM processes WHERE state = 'waiting'")
    assert rows == [(patient.process_id,)]


async def test_calls_go_to_the_new_assure_and_one_under_way_ends_at_the_old(here: Any) -> None:
    here.edit(
        ('timeout = "2s"', 'timeout = "20s"'),
        ("notify_grace", 'ladder = ["fetch"]\nnotify_grace'),
    )
    asked = asyncio.Event()
    answer_now = asyncio.Event()

    async def token(_: web.Request) -> web.Response:
        return web.json_response({"access_token": "t", "expires_in": 300})

    async def slow(request: web.Request) -> web.Response:
        asked.set()
        await answer_now.wait()
        return web.json_response({"status": "rejected", "finalResult": True})

    app = web.Application()
    app.router.add_post("/token", token)
    app.router.add_get("/{rest:.*}", slow)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    old = f"http://127.0.0.1:{runner.addresses[0][1]}"
    simulated = here.simulator
    here.edit(
        (f'base_url = "{simulated.base_url}"', f'base_url = "{old}"'),
        (f'token_url = "{simulated.token_url}"', f'token_url = "{old}/token"'),
    )
    try:
        daemon = await here.running()
        first = here.world.add(callback="lose", finish_in=0.0)
        await here.command("track", first.dossier_id, first.process_id)
        await asyncio.wait_for(asked.wait(), 60)
        here.edit(
            (f'base_url = "{old}"', f'base_url = "{simulated.base_url}"'),
            (f'token_url = "{old}/token"', f'token_url = "{simulated.token_url}"'),
            ("requests_per_second = 500", "requests_per_second = 400\nmax_concurrency = 2"),
        )
        assert (await daemon.hang_up())["changed"] == [
            "assure.base_url",
            "assure.max_concurrency",
            "assure.requests_per_second",
            "assure.token_url",
        ]
        second = here.world.add(callback="lose", finish_in=0.0, final_status="accepted")
        await here.command("track", second.dossier_id, second.process_id)
        settled = await daemon.said("process_settled")
        assert (settled["process_id"], settled["status"]) == (second.process_id, "accepted")
        answer_now.set()
        settled = await daemon.said("process_settled", 2)
        assert (settled["process_id"], settled["status"]) == (first.process_id, "rejected")
        assert await daemon.stop() == 0
    finally:
        answer_now.set()
        await runner.cleanup()


class Application:
    """The receiver of deliveries, on a port of its own."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, int]] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.has_come = asyncio.Event()

    async def __aenter__(self) -> "Application":
        app = web.Application()
        app.router.add_post("/events", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/events"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hold.set()
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        event = await request.json()
        signatures = request.headers.get("webhook-signature", "").split()
        key = request.headers.get("X-Key", "")
        self.has_come.set()
        await self.hold.wait()
        self.got.append((event["data"]["processId"], key, len(signatures)))
        return web.Response()


async def test_deliveries_begin_change_and_end_with_a_reload(here: Any) -> None:
    secrets = [f"whsec_{letter * 32}" for letter in "AB"]
    async with Application() as one, Application() as two:
        daemon = await here.running()

        async def settle() -> str:
            count = len(daemon.named("process_settled"))
            made = here.world.add(callback="lose", finish_in=0.0)
            await here.command("track", made.dossier_id, made.process_id)
            await daemon.said("process_settled", count + 1)
            return str(made.process_id)

        await settle()  # before there is anybody to tell
        with here.config.open("a") as file:
            file.write(f'[delivery]\nurl = "{one.url}"\nsecret = "{secrets[0]}"\n')
        assert (await daemon.hang_up())["changed"] == ["delivery"]
        first = await settle()
        await daemon.said("delivery_succeeded")
        assert one.got == [(first, "", 1)]

        one.hold.clear()
        one.has_come.clear()
        begun = await settle()
        await asyncio.wait_for(one.has_come.wait(), 60)
        here.edit(
            (one.url, two.url),
            (f'"{secrets[0]}"', json.dumps(secrets) + '\nheaders = { X-Key = "canary" }'),
        )
        said = await daemon.hang_up()
        assert said["changed"] == ["delivery.headers", "delivery.secret", "delivery.url"]
        second = await settle()
        one.hold.set()
        await daemon.said("delivery_succeeded", 3)
        assert one.got == [(first, "", 1), (begun, "", 1)]
        assert two.got == [(second, "canary", 2)]

        here.edit((f'url = "{two.url}"', 'url = ""'))
        assert (await daemon.hang_up())["changed"] == ["delivery"]
        await settle()
        assert here.rows("SELECT count(*) FROM deliveries WHERE state = 'pending'") == [(0,)]
        assert await daemon.stop() == 0
    assert len(one.got) + len(two.got) == 3
    assert "canary" not in "".join(daemon.lines)


async def test_the_ping_goes_to_another_place_at_once_and_ends_with_its_section(
    here: Any, aiohttp_server: Any
) -> None:
    pings: list[str] = []

    async def take(request: web.Request) -> web.Response:
        pings.append(request.path)
        return web.Response()

    app = web.Application()
    app.router.add_get("/{tail:.*}", take)
    server = await aiohttp_server(app)
    url = f"http://127.0.0.1:{server.port}/canary"
    section = f'[heartbeat]\nurl = "{url}-one"\n'
    with here.config.open("a") as file:
        file.write(section)
    daemon = await here.running()
    await here.until(lambda: pings == ["/canary-one"])

    here.edit((f"{url}-one", f"{url}-two"))
    assert (await daemon.hang_up())["changed"] == ["heartbeat.url"]
    await here.until(lambda: pings == ["/canary-one", "/canary-two"])

    here.edit((section.replace("-one", "-two"), ""))
    assert (await daemon.hang_up())["changed"] == ["heartbeat"]
    assert await daemon.stop() == 0
    assert "canary-" not in "".join(daemon.lines) + daemon.stderr
    assert "unclosed" not in daemon.stderr.lower()


async def test_many_reloads_leave_no_file_open_and_end_with_the_daemon(here: Any) -> None:
    async with Application() as application:
        with here.config.open("a") as file:
            file.write(f'[delivery]\nurl = "{application.url}"\ntimeout = "77s"\n')
        daemon = await here.running()

        def opened() -> int:
            return len([*Path(f"/proc/{daemon.process.pid}/fd").iterdir()])

        async def settle() -> None:
            count = len(daemon.named("delivery_succeeded"))
            made = here.world.add(callback="lose", finish_in=0.0)
            await here.command("track", made.dossier_id, made.process_id)
            await daemon.said("delivery_succeeded", count + 1)

        await settle()
        before = opened()
        for number in range(10):
            here.edit(
                (f'timeout = "{number or 2}s"', f'timeout = "{number + 1}s"'),
                ('timeout = "77s"', f'timeout = "77s"\nheaders = {{ X-Key = "canary-{number}" }}'),
            )
            said = await daemon.hang_up()
            assert said["changed"] == ["assure.timeout", "delivery.headers"]
            here.edit((f'\nheaders = {{ X-Key = "canary-{number}" }}', ""))
            assert (await daemon.hang_up())["changed"] == ["delivery.headers"]
        await settle()
        # The store's readers may have opened less than one for each reload.
        await here.until(lambda: opened() <= before + 12)
        assert daemon.named("config_reload_failed") == []
        assert await daemon.stop() == 0
    assert "unclosed" not in daemon.stderr.lower()
