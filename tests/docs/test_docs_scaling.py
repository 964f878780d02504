"""The load balancer examples of docs/scaling.md: HAProxy and nginx take them, and they work."""

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

PATIENCE = 30.0
PATH = "/callbacks/assure"
NGINX = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
daemon off;
master_process off;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {example}
}}
"""


class Stand:
    """Stands for a daemon: takes callbacks, and says whether it is ready."""

    def __init__(self) -> None:
        self.status = 200
        self.taken: list[str] = []
        self._servers: list[TestServer] = []

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post(PATH, self._take)
        app.router.add_get("/ready", self._ready)
        for _ in range(2):  # the listener and the admin listener
            server = TestServer(app)
            await server.start_server()
            self._servers.append(server)

    @property
    def ports(self) -> tuple[int, int]:
        listener, admin = (server.port for server in self._servers)
        assert listener
        assert admin
        return listener, admin

    async def stop(self) -> None:
        for server in self._servers:
            await server.close()

    async def _take(self, request: web.Request) -> web.Response:
        if self.status == 200:
            self.taken.append((await request.json())["processId"])
        return web.Response(status=self.status)

    async def _ready(self, _request: web.Request) -> web.Response:
        return web.Response(status=self.status)


@pytest.fixture
async def stands() -> AsyncIterator[list[Stand]]:
    made = [Stand(), Stand()]
    for stand in made:
        await stand.start()
    yield made
    for stand in made:
        await stand.stop()


def program(name: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def example(documents: list[Any], name: str) -> str:
    (scaling,) = (each for each in documents if each.name == "docs/scaling.md")
    (block,) = scaling.blocks(name)
    return str(block)


def haproxy_of(documents: list[Any], folder: Path) -> tuple[Path, list[str]]:
    binary = program("haproxy")
    path = folder / "haproxy.cfg"
    path.write_text(example(documents, "haproxy"))
    return path, [binary, "-f", str(path)]


def nginx_of(documents: list[Any], folder: Path) -> tuple[Path, list[str]]:
    binary = program("nginx")
    path = folder / "nginx.conf"
    path.write_text(NGINX.format(folder=folder, example=example(documents, "nginx")))
    return path, [binary, "-e", str(folder / "error.log"), "-c", str(path)]


MAKERS = {"haproxy": (haproxy_of, "-c"), "nginx": (nginx_of, "-t")}


@pytest.mark.parametrize("name", MAKERS)
def test_the_example_is_a_valid_configuration(
    documents: list[Any], tmp_path: Path, name: str
) -> None:
    make, check = MAKERS[name]
    _, words = make(documents, tmp_path)
    done = subprocess.run([*words, check], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower()


@pytest.mark.parametrize("name", MAKERS)
async def test_callbacks_go_where_they_are_taken(
    documents: list[Any], tmp_path: Path, stands: list[Stand], name: str
) -> None:
    make, _ = MAKERS[name]
    path, words = make(documents, tmp_path)
    one, two = stands
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = re.sub(r"\b8443\b", f"127.0.0.1:{port}", path.read_text().replace(":8443", "8443"))
    for number, stand in enumerate(stands, 1):
        listener, admin = stand.ports
        text = text.replace(f"10.0.0.1{number}:8080", f"127.0.0.1:{listener} port {admin}")
    if name == "haproxy":
        text = text.replace("check port 9180", "check")
    else:
        text = re.sub(r"(127\.0\.0\.1:\d+) port \d+", r"\1", text)
    path.write_text(text)
    async with running(words), aiohttp.ClientSession() as client:
        url = f"http://127.0.0.1:{port}{PATH}"

        async def call_back(process_id: str) -> int:
            async with client.post(url, json={"processId": process_id}) as answer:
                return answer.status

        await until_listening(port)
        assert {await call_back(f"both-{n}") for n in range(10)} == {200}
        assert one.taken
        assert two.taken

        one.status = 503  # it can keep nothing: each goes to the other, and none is lost
        before = len(one.taken)
        sent = [f"one-{n}" for n in range(10)]
        assert {await call_back(process_id) for process_id in sent} == {200}
        assert len(one.taken) == before
        assert two.taken[-10:] == sent

        one.status = 200
        await two.stop()  # nobody listens there any more
        await until_taken(call_back, one)
        assert {await call_back(f"last-{n}") for n in range(10)} == {200}
    assert len(one.taken) + len(two.taken) >= 30


@asynccontextmanager
async def running(words: list[str]) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def until_listening(port: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


async def until_taken(call_back: Any, stand: Stand) -> None:
    """Wait until the balancer has found out that ``stand`` is back."""
    async with asyncio.timeout(PATIENCE):
        while "back" not in stand.taken:
            await call_back("back")
            await asyncio.sleep(0.1)
