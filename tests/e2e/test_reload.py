"""SIGHUP, as an operator sends it to the running daemon."""

import asyncio
import itertools
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

OLD = "Bearer canary-authorization-7f3a"
NEW = "Bearer canary-authorization-of-tomorrow"
ADMIN = {"Authorization": "Bearer canary-admin-token-c2d4"}


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
    here.edit((f'["{OLD}"]', f'[{{ file = "{secret}" }}]'))
    daemon = await here.running()
    async with Senders(daemon.callback_url).sending() as load:
        await load.more(100)
        here.edit((f'[{{ file = "{secret}" }}]', f'[{{ file = "{secret}" }}, "{NEW}"]'))
        assert (await daemon.hang_up())["changed"] == ["listener.authorization"]
        await load.more(100)
        load.value = NEW
        await load.more(100)
        secret.write_text(NEW)  # the old one is accepted no more
        assert (await daemon.hang_up())["changed"] == ["listener.authorization"]
        await load.more(100)
        assert set(load.answers) == {200}
        assert load.connections == 12  # no connection was dropped
    async with aiohttp.ClientSession() as client:
        assert await daemon.post(client, OLD, "p-late") == 401
    assert await daemon.stop() == 0
    assert "canary" not in "".join(daemon.lines) + daemon.stderr


async def test_an_invalid_file_is_told_whole_and_changes_nothing(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    good = here.config.read_text()
    here.edit(
        (OLD, "Bearer canary-broken"),
        ('"50ms"', '"50 parrots"'),
        ("requests_per_second = 500", "requests_per_second = -1\ncolour = 1"),
        ('token = "canary-admin-token-c2d4"', 'token = "canary\\u0007"'),
    )
    said = await daemon.hang_up("config_reload_failed")
    told = "\n".join(said["problems"])
    for words in (
        "reconcile.sweep_interval '50 parrots' is not a duration",
        "assure.requests_per_second -1 must be above 0",
        "assure.colour unknown key",
        "admin.token has a line break or another control character in it",
    ):
        assert words in told
    assert len(daemon.named("config_reload_failed")) == 1
    assert await daemon.post(client, OLD, "p-1") == 200
    assert await daemon.post(client, "Bearer canary-broken", "p-2") == 401
    here.config.write_text(good)
    assert (await daemon.hang_up())["changed"] == []
    missing = here.directory / "nothing-there"
    here.edit((f'["{OLD}"]', f'["{NEW}", {{ file = "{missing}" }}]'))
    said = await daemon.hang_up("config_reload_failed")
    assert [*said["problems"]] == [
        f"listener.authorization[1] file '{missing}' cannot be read: No such file or directory"
    ]
    assert await daemon.post(client, OLD, "p-3") == 200
    wrong = here.directory / "wrong.pem"
    wrong.write_text("canary")
    here.config.write_text(f'{good}[delivery]\nurl = "https://app.example/"\nca_file = "{wrong}"\n')
    here.edit(
        ("[assure]", f'[assure]\nca_file = "{missing}"'),
        ("port = 0", f'port = 0\ntls = {{ certificate = "{wrong}", key = "{wrong}" }}'),
        (f'["{OLD}"]', f'["{NEW}", {{ env = "NOBODY_HAS_SET_THIS" }}]'),
    )
    said = await daemon.hang_up("config_reload_failed")
    assert [problem.split(" ")[0] for problem in said["problems"]] == [
        "listener.authorization[1]",
        "assure.ca_file",
        "listener.tls",
        "delivery.ca_file",
    ]
    assert await daemon.post(client, OLD, "p-3") == 200
    here.config.unlink()
    said = await daemon.hang_up("config_reload_failed")
    assert "cannot be read" in said["problems"][0]
    assert await daemon.post(client, OLD, "p-4") == 200
    assert "canary" not in "".join(daemon.lines)


async def test_what_needs_a_restart_is_named_and_the_rest_is_taken_on(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running(RECONCILER_LOG__LEVEL="info")
    here.edit(
        ("port = 0", 'port = 1\npath = "/elsewhere"'),
        ('listen = "127.0.0.1:0"', 'listen = "127.0.0.1:1"'),
        ("store.db", "another.db"),
        ("/spool", "/another-spool"),
    )
    said = await daemon.hang_up()
    assert said["changed"] == ["listener.path"]
    stay = ["admin.listen", "listener.port", "store.spool", "store.url"]
    assert said["needs_restart"] == stay
    assert [line["key"] for line in daemon.named("setting_without_effect")] == stay
    assert await daemon.post(client, OLD, "p-1") == 404
    daemon.callback_url = daemon.callback_url.replace("/callbacks/assure", "/elsewhere")
    assert await daemon.post(client, OLD, "p-1") == 200
    async with client.get(f"{daemon.admin_url}/v1/status", headers=ADMIN) as answer:
        assert answer.status == 200
    assert not (here.directory / "another.db").exists()


async def test_the_limits_and_the_networks_of_the_listener_change_at_once(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    here.edit(("port = 0", 'port = 0\nmax_body = 1024\nallow_from = ["192.0.2.0/24"]'))
    await daemon.hang_up()
    assert await daemon.post(client, OLD, "p-1") == 403
    here.edit(
        ('allow_from = ["192.0.2.0/24"]', 'allow_from = ["192.0.2.1"]\ntrusted_proxies = ["::/0"]'),
    )
    here.edit(('["::/0"]', '["127.0.0.0/8"]'))
    assert (await daemon.hang_up())["changed"] == [
        "listener.allow_from",
        "listener.trusted_proxies",
    ]
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
    assert await daemon.post(client, OLD, "p-1") == 200
    await daemon.said("callback_received")
    assert daemon.named("outbound_call") == []
    # An id that happens to be a secret shows whether a line would be masked.
    here.edit(("[store]", '[log]\nlevel = "debug"\n[store]'), (OLD, NEW))
    assert (await daemon.hang_up())["changed"] == ["listener.authorization", "log.level"]
    assert await daemon.post(client, NEW, "see canary-authorization-of-tomorrow") == 200
    assert await daemon.post(client, NEW, "see canary-authorization-7f3a") == 200
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
    here.edit(("canary-admin-token-c2d4", "canary-admin-token-2"))
    assert (await daemon.hang_up())["changed"] == ["admin.token"]
    for token, status in (("canary-admin-token-c2d4", 401), ("canary-admin-token-2", 200)):
        headers = {"Authorization": f"Bearer {token}"}
        async with client.get(f"{daemon.admin_url}/v1/status", headers=headers) as answer:
            assert answer.status == status


async def test_a_credential_is_what_it_was_at_the_start(
    here: Any, client: aiohttp.ClientSession
) -> None:
    directory = here.directory / "credentials"
    directory.mkdir()
    (directory / "value").write_text(OLD)
    here.edit((f'["{OLD}"]', '[{ credential = "value" }]'))
    daemon = await here.running(CREDENTIALS_DIRECTORY=str(directory))
    (directory / "value").unlink()
    here.edit(("port = 0", "port = 0\nmax_body = 2048"))
    said = await daemon.hang_up()
    assert (said["changed"], said["needs_restart"]) == (["listener.max_body"], [])
    assert await daemon.post(client, OLD, "p-1") == 200
    here.edit(('{ credential = "value" }', '{ credential = "value" }, { credential = "new" }'))
    said = await daemon.hang_up()
    assert (said["changed"], said["needs_restart"]) == ([], ["listener.authorization"])
    assert await daemon.post(client, OLD, "p-2") == 200


async def test_many_signals_in_a_row_are_one_reload_after_the_other(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    for number in range(20):
        here.edit(("port = 0", f"port = 0\nmax_body = {4096 + number}"))
        for _ in range(3):
            daemon.process.send_signal(signal.SIGHUP)
        here.edit((f"port = 0\nmax_body = {4096 + number}", "port = 0"))
    here.edit((OLD, NEW))
    daemon.process.send_signal(signal.SIGHUP)
    await daemon.said(
        "config_reloaded", where=lambda line: "listener.authorization" in line["changed"]
    )
    assert await daemon.post(client, NEW, "p-1") == 200
    assert daemon.named("config_reload_failed") == []
    daemon.process.send_signal(signal.SIGHUP)
    assert await daemon.stop() == 0


async def test_a_signal_that_comes_while_the_daemon_starts_is_not_lost(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.start()
    await daemon.said("starting")
    here.edit((OLD, NEW))
    daemon.process.send_signal(signal.SIGHUP)
    await daemon.ready()
    assert (await daemon.said("config_reloaded"))["changed"] == ["listener.authorization"]
    assert await daemon.post(client, NEW, "p-1") == 200


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
    here.edit(("port = 0", f"port = 0\n{tls}"))
    daemon = await here.running()
    assert daemon.callback_url.startswith("https://")
    (warning,) = daemon.named("certificate_expires")
    assert (warning["certificate"], warning["days_left"]) == (str(shelf.certificate), 1)

    def session(trusting: ssl.SSLContext) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting, limit=1))

    async with session(first) as early:
        assert await daemon.post(early, OLD, "p-1") == 200
        second = shelf.renew(days=60)
        said = await daemon.hang_up()
        assert said["changed"] == ["listener.tls.certificate", "listener.tls.key"]
        async with session(second) as late:
            assert await daemon.post(late, OLD, "p-2") == 200
            key = shelf.key.read_bytes()
            shelf.key.write_bytes(b"-----BEGIN PRIVATE KEY-----\ncanary\n")
            here.edit((OLD, NEW))
            said = await daemon.hang_up("config_reload_failed")
            (problem,) = said["problems"]
            assert problem.startswith("listener.tls cannot use ")
            assert await daemon.post(late, OLD, "p-3") == 200
        async with session(second) as later:
            assert await daemon.post(later, OLD, "p-4") == 200
        shelf.key.write_bytes(key)
        assert (await daemon.hang_up())["changed"] == ["listener.authorization"]
        assert await daemon.post(early, NEW, "p-5") == 200  # the connection of before all this
    assert len(daemon.named("certificate_expires")) == 1
    assert "canary" not in "".join(daemon.lines)


async def test_another_keepalive_counts_for_connections_that_are_open_already(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    body = {"dossierId": "d", "processId": "p", "status": "accepted"}

    async def announced() -> str:
        headers = {"Authorization": OLD}
        async with client.post(daemon.callback_url, json=body, headers=headers) as answer:
            assert answer.status == 200
            return str(answer.headers["Keep-Alive"])

    assert await announced() == "timeout=75"
    here.edit(("[listener]\n", '[listener]\nkeepalive = "20s"\n'))
    assert (await daemon.hang_up())["changed"] == ["listener.keepalive"]
    assert await announced() == "timeout=20"
    assert await daemon.stop() == 0
