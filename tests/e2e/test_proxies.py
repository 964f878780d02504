"""The blocks of docs/proxy.md, in the real proxies, before a real daemon."""

import asyncio
import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "proxy.md"
AUTHORIZATION = {"Authorization": "Bearer canary-authorization-7f3a"}
ALLOWED, STRANGER = "127.0.0.2", "127.0.0.3"
"""Callers. The proxy itself connects from 127.0.0.1, the one address that is trusted."""

PATIENCE = 60.0
NAMES = ("nginx", "haproxy", "caddy")


def block(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S)
    assert len(found) == 1
    return str(found[0])


def instead(text: str, *changes: tuple[str, str]) -> str:
    """Put the places of this test in the block; each must be there exactly once."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@dataclass
class Place:
    """Where a proxy is to run, and before what."""

    directory: Path
    port: int
    upstream: str

    @property
    def certificate(self) -> Path:
        return self.directory / "certificate.pem"

    @property
    def key(self) -> Path:
        return self.directory / "key.pem"


def nginx(place: Place) -> tuple[str, list[str], list[str]]:
    """Return the configuration, the command that checks it, and the one that runs it."""
    server = instead(
        block("nginx"),
        ("listen              443", f"listen              127.0.0.1:{place.port}"),
        ("127.0.0.1:8080", place.upstream),
        ("/etc/nginx/identity.example.com.crt", str(place.certificate)),
        ("/etc/nginx/identity.example.com.key", str(place.key)),
    )
    folder = place.directory
    own = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = (
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{own}{server}}}\n"
    )
    path = str(folder / "proxy.conf")
    command = ["nginx", "-p", str(folder), "-c", path, "-e", f"{folder}/error.log"]
    return main, [*command, "-t"], command


def haproxy(place: Place) -> tuple[str, list[str], list[str]]:
    both = place.directory / "both.pem"
    both.write_bytes(place.certificate.read_bytes() + place.key.read_bytes())
    text = instead(
        block("haproxy"),
        ("bind :443", f"bind 127.0.0.1:{place.port}"),
        ("/etc/haproxy/identity.example.com.pem", str(both)),
        ("127.0.0.1:8080", place.upstream),
    )
    path = str(place.directory / "proxy.conf")
    return text, ["haproxy", "-c", "-f", path], ["haproxy", "-db", "-f", path]


def caddy(place: Place) -> tuple[str, list[str], list[str]]:
    site = instead(
        block("caddy"),
        (
            "identity.example.com {",
            f"https://127.0.0.1:{place.port} {{\n\ttls {place.certificate} {place.key}",
        ),
        ("127.0.0.1:8080", place.upstream),
    )
    text = f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{site}"
    how = ["--adapter", "caddyfile", "--config", str(place.directory / "proxy.conf")]
    return text, ["caddy", "validate", *how], ["caddy", "run", *how]


BUILD = {"nginx": nginx, "haproxy": haproxy, "caddy": caddy}


def caddy_version() -> tuple[int, ...]:
    said = subprocess.run(["caddy", "version"], check=True, capture_output=True, text=True).stdout
    return tuple(map(int, re.findall(r"\d+", said)[:3]))


def find(name: str) -> None:
    """Skip where the proxy is not installed."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian has the servers
    for program in (name, "openssl"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


def write(name: str, place: Place) -> tuple[list[str], list[str]]:
    """Make the certificate and the file; return how it is checked and run."""
    made = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        f"-subj /CN=x -addext subjectAltName=IP:127.0.0.1 -keyout {place.key} "
        f"-out {place.certificate}"
    )
    subprocess.run(made.split(), check=True, capture_output=True)
    text, check, run = BUILD[name](place)
    (place.directory / "proxy.conf").write_text(text)
    return check, run


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"])  # put back what ``find`` adds


@pytest.mark.parametrize("name", NAMES)
def test_the_block_in_the_document_is_valid(name: str, tmp_path: Path) -> None:
    find(name)
    check, _ = write(name, Place(tmp_path, free_port(), "127.0.0.1:8080"))
    environ = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(check, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Proxy:
    """A running proxy, and clients that come to it from some address."""

    def __init__(self, place: Place) -> None:
        self.url = f"https://127.0.0.1:{place.port}/callbacks/assure"
        self._trusting = ssl.create_default_context(cafile=place.certificate)

    def client(self, address: str) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(local_addr=(address, 0), ssl=self._trusting)
        return aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=PATIENCE)
        )

    async def post(
        self, address: str, process_id: str, *headers: tuple[str, str], padding: int = 0
    ) -> int:
        body = {"dossierId": "d", "processId": process_id, "status": "accepted"}
        if padding:
            body["padding"] = "x" * padding
        sent = [*AUTHORIZATION.items(), *headers]
        async with (
            self.client(address) as client,
            client.post(self.url, json=body, headers=sent) as answer,
        ):
            await answer.read()
            return answer.status


@pytest.fixture(params=NAMES)
async def name(request: pytest.FixtureRequest) -> str:
    find(request.param)
    return str(request.param)


@pytest.fixture
async def proxy(name: str, here: Any) -> AsyncIterator[Proxy]:
    here.upstream_port = free_port()
    text = here.config.read_text()
    new = (
        f'port = {here.upstream_port}\ntrusted_proxies = ["127.0.0.1"]\nallow_from = ["{ALLOWED}"]'
    )
    here.config.write_text(text.replace("port = 0", new))
    folder = here.directory / "proxy"
    folder.mkdir()
    place = Place(folder, free_port(), f"127.0.0.1:{here.upstream_port}")
    _, run = write(name, place)
    with (folder / "output").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *run, stdout=output, stderr=output, env={**os.environ, "HOME": str(folder)}
        )
    try:
        async with asyncio.timeout(PATIENCE):
            while not await accepts(place.port):
                assert process.returncode is None, (folder / "output").read_text()
                await asyncio.sleep(0.05)
        yield Proxy(place)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_a_callback_comes_through_with_the_callers_own_address(
    here: Any, proxy: Proxy, name: str
) -> None:
    daemon = await here.running()
    assert await proxy.post(ALLOWED, "p-1") == 200
    assert here.rows("SELECT process_id FROM callbacks") == [("p-1",)]
    assert await proxy.post(STRANGER, "p-2") == 403
    assert (await daemon.said("callback_rejected"))["remote"] == STRANGER


async def test_an_address_that_the_caller_has_made_up_is_not_believed(
    here: Any, proxy: Proxy, name: str
) -> None:
    daemon = await here.running()
    for made_up in (ALLOWED, f"{ALLOWED}, {ALLOWED}", f"{ALLOWED}, 127.0.0.1", "127.0.0.1"):
        assert await proxy.post(STRANGER, "p-1", ("X-Forwarded-For", made_up)) == 403
    twice = (("X-Forwarded-For", ALLOWED), ("X-Forwarded-For", ALLOWED))
    assert await proxy.post(STRANGER, "p-1", *twice) == 403
    assert {line["remote"] for line in daemon.named("callback_rejected")} == {STRANGER}
    assert await proxy.post(ALLOWED, "p-2", ("X-Forwarded-For", "203.0.113.9, junk")) == 200
    assert here.rows("SELECT process_id FROM callbacks") == [("p-2",)]


async def test_only_the_one_path_and_a_body_of_up_to_64_kib_come_through(
    here: Any, proxy: Proxy, name: str
) -> None:
    await here.running()
    assert await proxy.post(ALLOWED, "p-1", padding=60_000) == 200
    assert await proxy.post(ALLOWED, "p-2", padding=70_000) == 413
    proxy.url = proxy.url.replace("/callbacks/assure", "/")
    assert await proxy.post(ALLOWED, "p-3") == 404


async def test_a_restart_of_the_daemon_is_waited_for(here: Any, proxy: Proxy, name: str) -> None:
    if name == "nginx":
        pytest.skip("nginx cannot wait before it tries again; the document says what to do")
    if name == "caddy" and caddy_version() <= (2, 11, 1):
        pytest.skip("Caddy up to 2.11.1 cannot repeat a request with a body; the document says so")
    daemon = await here.running()
    assert await proxy.post(ALLOWED, "p-1") == 200
    assert await daemon.stop() == 0
    following = await here.start()
    await following.said("starting")  # its port is not bound yet
    assert await proxy.post(ALLOWED, "p-2") == 200
    await following.ready()
    assert here.rows("SELECT process_id FROM callbacks ORDER BY 1") == [("p-1",), ("p-2",)]
