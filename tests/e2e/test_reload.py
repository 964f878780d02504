"""SIGHUP, as an operator sends it to the running daemon."""

import asyncio
import itertools
import json
import shutil
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

OLD = "Bearer canary-authorization-7f3a"
NEW = "Bearer canary-authorization-of-tomorrow"
ADMIN = {"Authorization": "Bearer canary-admin-token-c2d4"}


def edit(here: Any, *changes: tuple[str, str]) -> None:
    text = here.config.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    # As editors do: a daemon that is asked to read meanwhile sees the old file or the new one.
    new_file = here.config.with_suffix(".new")
    new_file.write_text(text)
    new_file.replace(here.config)


async def hang_up(daemon: Any, told: str = "config_reloaded") -> dict[str, Any]:
    """Send SIGHUP and return what the daemon says of it."""
    count = len(daemon.named(told))
    daemon.process.send_signal(signal.SIGHUP)
    said: dict[str, Any] = await daemon.said(told, count + 1)
    return said


async def post(client: aiohttp.ClientSession, daemon: Any, value: str, process: str) -> int:
    body = {"dossierId": "d", "processId": process, "status": "accepted"}
    headers = {"Authorization": value}
    async with client.post(daemon.callback_url, json=body, headers=headers) as answer:
        return int(answer.status)


class Senders:
    """Keep-alive connections that each post with the value which is right at that moment."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.value = OLD
        self.answers: list[int] = []
        self.connections = 0
        self._ids = itertools.count()
        self._news = asyncio.Condition()

    @asynccontextmanager
    async def sending(self, count: int = 12) -> AsyncIterator["Senders"]:
        tasks = [asyncio.create_task(self._send()) for _ in range(count)]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(error) for error in ended} == {asyncio.CancelledError}

    async def more(self, count: int) -> None:
        wanted = len(self.answers) + count
        async with asyncio.timeout(60), self._news:
            await self._news.wait_for(lambda: len(self.answers) >= wanted)

    async def _connected(self, *_: object) -> None:
        self.connections += 1

    async def _send(self) -> None:
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_create_end.append(self._connected)
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector, trace_configs=[tracing]) as session:
            while True:
                body = {"dossierId": "d", "processId": f"p-{next(self._ids)}", "status": "accepted"}
                headers = {"Authorization": self.value}
                async with session.post(self.url, json=body, headers=headers) as answer:
                    await answer.read()
                    self.answers.append(answer.status)
                async with self._news:
                    self._news.notify_all()


async def test_an_authorization_value_is_rotated_under_load_without_a_failed_request(
    here: Any,
) -> None:
    secret = here.directory / "authorization"
    secret.write_text(OLD)
    edit(here, (f'["{OLD}"]', f'[{{ file = "{secret}" }}]'))
    daemon = await here.running()
    async with Senders(daemon.callback_url).sending() as load:
        await load.more(100)
        edit(here, (f'[{{ file = "{secret}" }}]', f'[{{ file = "{secret}" }}, "{NEW}"]'))
        assert (await hang_up(daemon))["changed"] == ["listener.authorization"]
        await load.more(100)
        load.value = NEW
        await load.more(100)
        secret.write_text(NEW)  # the old one is accepted no more
        assert (await hang_up(daemon))["changed"] == ["listener.authorization"]
        await load.more(100)
        assert set(load.answers) == {200}
        assert load.connections == 12  # no connection was dropped
    async with aiohttp.ClientSession() as client:
        assert await post(client, daemon, OLD, "p-late") == 401
    assert await daemon.stop() == 0
    assert "canary" not in "".join(daemon.lines) + daemon.stderr


async def test_an_invalid_file_is_told_whole_and_changes_nothing(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    good = here.config.read_text()
    edit(
        here,
        (OLD, "Bearer canary-broken"),
        ('"50ms"', '"50 parrots"'),
        ("requests_per_second = 500", "requests_per_second = -1\ncolour = 1"),
        ('token = "canary-admin-token-c2d4"', 'token = "canary\\u0007"'),
    )
    said = await hang_up(daemon, "config_reload_failed")
    told = "\n".join(said["problems"])
    for words in (
        "reconcile.sweep_interval '50 parrots' is not a duration",
        "assure.requests_per_second -1 must be above 0",
        "assure.colour unknown key",
        "admin.token must be printable ASCII",
    ):
        assert words in told
    assert len(daemon.named("config_reload_failed")) == 1
    assert await post(client, daemon, OLD, "p-1") == 200
    assert await post(client, daemon, "Bearer canary-broken", "p-2") == 401
    here.config.write_text(good)
    assert (await hang_up(daemon))["changed"] == []
    missing = here.directory / "nothing-there"
    edit(here, (f'["{OLD}"]', f'["{NEW}", {{ file = "{missing}" }}]'))
    said = await hang_up(daemon, "config_reload_failed")
    assert [*said["problems"]] == [
        f"listener.authorization[1] file '{missing}' cannot be read: No such file or directory"
    ]
    assert await post(client, daemon, OLD, "p-3") == 200
    wrong = here.directory / "wrong.pem"
    wrong.write_text("canary")
    here.config.write_text(f'{good}[delivery]\nurl = "https://app.example/"\nca_file = "{wrong}"\n')
    edit(
        here,
        ("[assure]", f'[assure]\nca_file = "{missing}"'),
        ("port = 0", f'port = 0\ntls = {{ certificate = "{wrong}", key = "{wrong}" }}'),
        (f'["{OLD}"]', f'["{NEW}", {{ env = "NOBODY_HAS_SET_THIS" }}]'),
    )
    said = await hang_up(daemon, "config_reload_failed")
    assert [problem.split(" ")[0] for problem in said["problems"]] == [
        "listener.authorization[1]",
        "assure.ca_file",
        "listener.tls",
        "delivery.ca_file",
    ]
    assert await post(client, daemon, OLD, "p-3") == 200
    here.config.unlink()
    said = await hang_up(daemon, "config_reload_failed")
    assert "cannot be read" in said["problems"][0]
    assert await post(client, daemon, OLD, "p-4") == 200
    assert "canary" not in "".join(daemon.lines)


async def test_what_needs_a_restart_is_named_and_the_rest_is_taken_on(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running(RECONCILER_LOG__LEVEL="info")
    edit(
        here,
        ("port = 0", 'port = 1\npath = "/elsewhere"'),
        ('listen = "127.0.0.1:0"', 'listen = "127.0.0.1:1"'),
        ("store.db", "another.db"),
        ("/spool", "/another-spool"),
    )
    said = await hang_up(daemon)
    assert said["changed"] == ["listener.path"]
    stay = ["admin.listen", "listener.port", "store.spool", "store.url"]
    assert said["needs_restart"] == stay
    assert [line["key"] for line in daemon.named("setting_without_effect")] == stay
    assert await post(client, daemon, OLD, "p-1") == 404
    daemon.callback_url = daemon.callback_url.replace("/callbacks/assure", "/elsewhere")
    assert await post(client, daemon, OLD, "p-1") == 200
    async with client.get(f"{daemon.admin_url}/v1/status", headers=ADMIN) as answer:
        assert answer.status == 200
    assert not (here.directory / "another.db").exists()


async def test_the_limits_and_the_networks_of_the_listener_change_at_once(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    edit(here, ("port = 0", 'port = 0\nmax_body = 1024\nallow_from = ["192.0.2.0/24"]'))
    await hang_up(daemon)
    assert await post(client, daemon, OLD, "p-1") == 403
    edit(
        here,
        ('allow_from = ["192.0.2.0/24"]', 'allow_from = ["192.0.2.1"]\ntrusted_proxies = ["::/0"]'),
    )
    edit(here, ('["::/0"]', '["127.0.0.0/8"]'))
    assert (await hang_up(daemon))["changed"] == ["listener.allow_from", "listener.trusted_proxies"]
    headers = {"Authorization": OLD, "X-Forwarded-For": "192.0.2.1"}
    body = {"dossierId": "d", "processId": "p-2", "status": "accepted"}
    async with client.post(daemon.callback_url, json=body, headers=headers) as answer:
        assert answer.status == 200
    body["padding"] = "x" * 1024
    async with client.post(daemon.callback_url, json=body, headers=headers) as answer:
        assert answer.status == 413


async def test_the_log_level_and_what_it_hides_change_at_once(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    assert await post(client, daemon, OLD, "p-1") == 200
    await daemon.said("callback_received")
    assert daemon.named("outbound_call") == []
    # An id that happens to be a secret shows whether a line would be masked.
    edit(here, ("[store]", '[log]\nlevel = "debug"\n[store]'), (OLD, NEW))
    assert (await hang_up(daemon))["changed"] == ["listener.authorization", "log.level"]
    assert await post(client, daemon, NEW, "see canary-authorization-of-tomorrow") == 200
    assert await post(client, daemon, NEW, "see canary-authorization-7f3a") == 200
    await daemon.said("outbound_call")
    await daemon.said("callback_received", 3)
    assert [line["process_id"] for line in daemon.named("callback_received")] == [
        "p-1",
        "see [redacted]",
        "see [redacted]",
    ]


async def test_another_admin_token_is_asked_for_at_once(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    edit(here, ("canary-admin-token-c2d4", "canary-admin-token-2"))
    assert (await hang_up(daemon))["changed"] == ["admin.token"]
    for token, status in (("canary-admin-token-c2d4", 401), ("canary-admin-token-2", 200)):
        headers = {"Authorization": f"Bearer {token}"}
        async with client.get(f"{daemon.admin_url}/v1/status", headers=headers) as answer:
            assert answer.status == status


async def test_another_policy_decides_the_due_times_from_then_on(here: Any) -> None:
    edit(here, ('"500ms"', '"1h"'))
    daemon = await here.running()
    patient = here.world.add(callback="lose", finish_in=0.0)
    await here.command("track", patient.dossier_id, patient.process_id)
    edit(here, ('"1h"', '"500ms"'), ("[store]", 'ladder = ["fetch"]\n[store]'))
    said = await hang_up(daemon)
    assert said["changed"] == ["reconcile.callback_timeout", "reconcile.ladder"]
    hasty = here.world.add(callback="lose", finish_in=0.0)
    await here.command("track", hasty.dossier_id, hasty.process_id)
    settled = await daemon.said("process_settled")
    assert settled["process_id"] == hasty.process_id
    assert settled["by"] == "fetch"
    assert daemon.named("notify_requested") == []
    # Who was waiting already waits as long as was decided when it came.
    rows = here.rows("SELECT process_id FROM processes WHERE state = 'waiting'")
    assert rows == [(patient.process_id,)]


async def test_calls_go_to_the_new_assure_and_one_under_way_ends_at_the_old(here: Any) -> None:
    edit(
        here,
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
    edit(
        here,
        (f'base_url = "{simulated.base_url}"', f'base_url = "{old}"'),
        (f'token_url = "{simulated.token_url}"', f'token_url = "{old}/token"'),
    )
    try:
        daemon = await here.running()
        first = here.world.add(callback="lose", finish_in=0.0)
        await here.command("track", first.dossier_id, first.process_id)
        await asyncio.wait_for(asked.wait(), 60)
        edit(
            here,
            (f'base_url = "{old}"', f'base_url = "{simulated.base_url}"'),
            (f'token_url = "{old}/token"', f'token_url = "{simulated.token_url}"'),
            ("requests_per_second = 500", "requests_per_second = 400\nmax_concurrency = 2"),
        )
        assert (await hang_up(daemon))["changed"] == [
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
        assert (await hang_up(daemon))["changed"] == ["delivery"]
        first = await settle()
        await daemon.said("delivery_succeeded")
        assert one.got == [(first, "", 1)]

        one.hold.clear()
        one.has_come.clear()
        begun = await settle()
        await asyncio.wait_for(one.has_come.wait(), 60)
        edit(
            here,
            (one.url, two.url),
            (f'"{secrets[0]}"', json.dumps(secrets) + '\nheaders = { X-Key = "canary" }'),
        )
        said = await hang_up(daemon)
        assert said["changed"] == ["delivery.headers", "delivery.secret", "delivery.url"]
        second = await settle()
        one.hold.set()
        await daemon.said("delivery_succeeded", 3)
        assert one.got == [(first, "", 1), (begun, "", 1)]
        assert two.got == [(second, "canary", 2)]

        edit(here, (f'url = "{two.url}"', 'url = ""'))
        assert (await hang_up(daemon))["changed"] == ["delivery"]
        await settle()
        assert here.rows("SELECT count(*) FROM deliveries WHERE state = 'pending'") == [(0,)]
        assert await daemon.stop() == 0
    assert len(one.got) + len(two.got) == 3
    assert "canary" not in "".join(daemon.lines)


async def test_a_credential_is_what_it_was_at_the_start(
    here: Any, client: aiohttp.ClientSession
) -> None:
    directory = here.directory / "credentials"
    directory.mkdir()
    (directory / "value").write_text(OLD)
    edit(here, (f'["{OLD}"]', '[{ credential = "value" }]'))
    daemon = await here.running(CREDENTIALS_DIRECTORY=str(directory))
    (directory / "value").unlink()
    edit(here, ("port = 0", "port = 0\nmax_body = 2048"))
    said = await hang_up(daemon)
    assert (said["changed"], said["needs_restart"]) == (["listener.max_body"], [])
    assert await post(client, daemon, OLD, "p-1") == 200
    edit(here, ('{ credential = "value" }', '{ credential = "value" }, { credential = "new" }'))
    said = await hang_up(daemon)
    assert (said["changed"], said["needs_restart"]) == ([], ["listener.authorization"])
    assert await post(client, daemon, OLD, "p-2") == 200


async def test_many_signals_in_a_row_are_one_reload_after_the_other(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    for number in range(20):
        edit(here, ("port = 0", f"port = 0\nmax_body = {4096 + number}"))
        for _ in range(3):
            daemon.process.send_signal(signal.SIGHUP)
        edit(here, (f"port = 0\nmax_body = {4096 + number}", "port = 0"))
    edit(here, (OLD, NEW))
    daemon.process.send_signal(signal.SIGHUP)
    await daemon.said(
        "config_reloaded", where=lambda line: "listener.authorization" in line["changed"]
    )
    assert await post(client, daemon, NEW, "p-1") == 200
    assert daemon.named("config_reload_failed") == []
    daemon.process.send_signal(signal.SIGHUP)
    assert await daemon.stop() == 0


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
        for number in range(20):
            edit(
                here,
                (f'timeout = "{number or 2}s"', f'timeout = "{number + 1}s"'),
                ('timeout = "77s"', f'timeout = "77s"\nheaders = {{ X-Key = "canary-{number}" }}'),
            )
            said = await hang_up(daemon)
            assert said["changed"] == ["assure.timeout", "delivery.headers"]
            edit(here, (f'\nheaders = {{ X-Key = "canary-{number}" }}', ""))
            assert (await hang_up(daemon))["changed"] == ["delivery.headers"]
        await settle()
        # What the store's readers may have opened meanwhile is less than one for each reload.
        await here.until(lambda: opened() <= before + 12)
        assert daemon.named("config_reload_failed") == []
        assert await daemon.stop() == 0
    assert "unclosed" not in daemon.stderr.lower()


async def test_a_signal_that_comes_while_the_daemon_starts_is_not_lost(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.start()
    await daemon.said("starting")
    edit(here, (OLD, NEW))
    daemon.process.send_signal(signal.SIGHUP)
    await daemon.ready()
    assert (await daemon.said("config_reloaded"))["changed"] == ["listener.authorization"]
    assert await post(client, daemon, NEW, "p-1") == 200


class Shelf:
    """Certificates for 127.0.0.1, made when asked for."""

    def __init__(self, directory: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("needs the openssl command")
        self.directory = directory
        self.certificate = directory / "certificate.pem"
        self.key = directory / "key.pem"

    def renew(self, days: int) -> ssl.SSLContext:
        """Put a new pair in the place of the old; return what a client needs to trust it."""
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x "
            f"-days {days} -addext subjectAltName=IP:127.0.0.1 -keyout key.pem "
            "-out certificate.pem"
        )
        subprocess.run(command.split(), cwd=self.directory, check=True, capture_output=True)
        return ssl.create_default_context(cafile=self.certificate)


async def test_a_renewed_certificate_is_shown_after_sighup_and_a_bad_one_keeps_the_old(
    here: Any,
) -> None:
    shelf = Shelf(here.directory)
    first = shelf.renew(days=2)
    tls = f'tls = {{ certificate = "{shelf.certificate}", key = "{shelf.key}" }}'
    edit(here, ("port = 0", f"port = 0\n{tls}"))
    daemon = await here.running()
    assert daemon.callback_url.startswith("https://")
    (warning,) = daemon.named("certificate_expires")
    assert (warning["certificate"], warning["days_left"]) == (str(shelf.certificate), 1)

    def session(trusting: ssl.SSLContext) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting, limit=1))

    async with session(first) as early:
        assert await post(early, daemon, OLD, "p-1") == 200
        second = shelf.renew(days=60)
        said = await hang_up(daemon)
        assert said["changed"] == ["listener.tls.certificate", "listener.tls.key"]
        async with session(second) as late:
            assert await post(late, daemon, OLD, "p-2") == 200
            key = shelf.key.read_bytes()
            shelf.key.write_bytes(b"-----BEGIN PRIVATE KEY-----\ncanary\n")
            edit(here, (OLD, NEW))
            said = await hang_up(daemon, "config_reload_failed")
            (problem,) = said["problems"]
            assert problem.startswith("listener.tls cannot use ")
            assert await post(late, daemon, OLD, "p-3") == 200
        async with session(second) as later:
            assert await post(later, daemon, OLD, "p-4") == 200
        shelf.key.write_bytes(key)
        assert (await hang_up(daemon))["changed"] == ["listener.authorization"]
        assert await post(early, daemon, NEW, "p-5") == 200  # the connection of before all this
    assert len(daemon.named("certificate_expires")) == 1
    assert "canary" not in "".join(daemon.lines)
