"""A disk that fills up under a running daemon: a small tmpfs in a mount namespace of its own."""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

HEADERS = {"Authorization": "Bearer canary-authorization-7f3a"}
ADMIN = {"Authorization": "Bearer canary-admin-token-c2d4"}
PATIENCE = 60.0
_LOOK = """
import json, sqlite3, sys
store, query = sys.argv[1:]
print(json.dumps(sqlite3.connect(f"file:{store}?mode=rw", uri=True).execute(query).fetchall()))
"""


class Disks:
    """Small disks that only those see who are started with ``prefix``."""

    def __init__(self, keeper: asyncio.subprocess.Process) -> None:
        self._keeper = keeper
        self.prefix = ("nsenter", f"--target={keeper.pid}", "--mount", "--")

    async def run(self, *words: str) -> None:
        process = await asyncio.create_subprocess_exec(*self.prefix, *words)
        assert await process.wait() == 0

    async def rows(self, store: Path, query: str) -> list[Any]:
        """Look into a store on such a disk with the plain driver.

        There and not from here: SQLite would follow the link in ``/proc`` out of the namespace.
        """
        process = await asyncio.create_subprocess_exec(
            *(*self.prefix, sys.executable, "-c", _LOOK, str(store), query),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        found: list[Any] = json.loads(out)
        return found

    async def mount(self, directory: Path, size: str) -> Path:
        """Mount a disk of ``size``; return the path by which this process sees it."""
        await self.run("mkdir", str(directory))
        await self.run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory))
        return Path(f"/proc/{self._keeper.pid}/root{directory}")


@pytest.fixture
async def disks() -> AsyncIterator[Disks]:
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("nsenter"):
        pytest.skip("needs root, unshare and nsenter for a small disk of its own")
    keeper = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "--", "sh", "-c", "echo here; exec cat"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        if await keeper.stdout.readline() != b"here\n":
            pytest.skip("mount namespaces are not allowed here")
        yield Disks(keeper)
    finally:
        keeper.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            keeper.kill()
        await keeper.wait()


class Application:
    """Takes every delivery."""

    url: str

    def __init__(self) -> None:
        self.delivered: list[str] = []

    async def take(self, request: web.Request) -> web.Response:
        self.delivered.append((await request.json())["data"]["processId"])
        return web.Response()


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    made = Application()
    app = web.Application()
    app.router.add_post("/", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield made
    await runner.cleanup()


def fill(disk: Path) -> Path:
    """Leave not one byte free; return the file to remove for room."""
    filler = disk / "filler"
    fd = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for size in (65536, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while os.write(fd, bytes(size)):
                    pass
    finally:
        os.close(fd)
    return filler


class Sender:
    """Posts callbacks one by one and remembers what was answered."""

    def __init__(self, client: aiohttp.ClientSession, url: str) -> None:
        self._client = client
        self._url = url
        self._ids = itertools.count()
        self.acknowledged: list[str] = []

    async def post(self, process_id: str | None = None, extra: Iterable[str] = ()) -> int:
        """Post a callback with more members, of which the store keeps the names."""
        name = process_id or f"load-{next(self._ids)}"
        body = {"dossierId": "d", "processId": name, "status": "accepted"}
        body.update(dict.fromkeys(extra, ""))
        async with self._client.post(self._url, json=body, headers=HEADERS) as answer:
            if answer.status == 200:
                self.acknowledged.append(name)
            else:
                assert answer.status == 503
                assert answer.headers["Retry-After"]
                assert (await answer.json())["error"] == "not_durable"
            return int(answer.status)

    async def until(self, status: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self.post() != status:
                pass


async def readiness(client: aiohttp.ClientSession, daemon: Any) -> tuple[int, dict[str, Any]]:
    async with client.get(f"{daemon.admin_url}/ready") as answer:
        return answer.status, await answer.json()


@pytest.mark.fault("the store", "is on a full disk with the spool", "callback_not_durable")
async def test_a_full_disk_costs_503_and_nothing_that_was_acknowledged(
    here: Any, client: aiohttp.ClientSession, disks: Disks, application: "Application"
) -> None:
    disk = await disks.mount(here.directory / "disk", "12m")
    text = here.config.read_text().replace(f"{here.directory}/", f"{here.directory}/disk/")
    here.config.write_text(text)
    here.prefix = disks.prefix
    store = here.directory / "disk" / "store.db"
    with here.config.open("a") as file:
        file.write(f'[delivery]\nurl = "{application.url}"\n')
    daemon = await here.running()
    sender = Sender(client, daemon.callback_url)
    await sender.until(200)
    lost = [here.world.add(callback="lose", notified="lose", finish_in=0.0) for _ in range(5)]
    items = [{"dossierId": p.dossier_id, "processId": p.process_id} for p in lost]
    filler = fill(disk)

    await sender.until(503)
    assert await sender.post() == 503
    status, said = await readiness(client, daemon)
    assert (status, said["ready"]) == (503, False)
    assert said["reason"]
    await daemon.said("store_unavailable")
    await daemon.said("callback_not_durable")
    async with client.get(f"{daemon.admin_url}/live") as answer:
        assert answer.status == 200
    async with client.post(f"{daemon.admin_url}/v1/processes", json=items, headers=ADMIN) as answer:
        assert answer.status == 503
    before = len(sender.acknowledged)
    for _ in range(20):
        await sender.post()
    assert len(sender.acknowledged) == before
    assert daemon.process.returncode is None

    filler.unlink()
    await sender.until(200)
    async with client.post(f"{daemon.admin_url}/v1/processes", json=items, headers=ADMIN) as answer:
        assert answer.status == 201
    wanted = {process.process_id for process in lost}
    await here.until(lambda: wanted <= set(application.delivered))
    async with asyncio.timeout(PATIENCE):
        while (await readiness(client, daemon))[1] != {"ready": True, "degraded": []}:
            await asyncio.sleep(0.1)
    await here.until(lambda: not list((disk / "spool").glob("*.spool")))
    kept = {row[0] for row in await disks.rows(store, "SELECT process_id FROM callbacks")}
    assert set(sender.acknowledged) - kept == set()
    assert await disks.rows(store, "PRAGMA integrity_check") == [["ok"]]
    assert daemon.named("part_failed") == []
    assert daemon.named("part_restarted") == []
    assert await daemon.stop() == 0
    assert "Traceback" not in daemon.stderr + "".join(daemon.lines)


async def test_a_disk_that_callbacks_alone_have_filled_holds_data_and_not_the_journal(
    here: Any, client: aiohttp.ClientSession, disks: Disks
) -> None:
    disk = await disks.mount(here.directory / "disk", "4m")
    text = here.config.read_text().replace(f"{here.directory}/", f"{here.directory}/disk/")
    here.config.write_text(text)
    here.prefix = disks.prefix
    store = here.directory / "disk" / "store.db"
    daemon = await here.running()
    sender = Sender(client, daemon.callback_url)
    extra = [f"{number}-{'x' * 250}" for number in range(8)]
    while 503 not in await asyncio.gather(*(sender.post(extra=extra) for _ in range(32))):
        pass
    # A journal that has taken the last room could never be moved into the database.
    assert (disk / "store.db").stat().st_size > (disk / "store.db-wal").stat().st_size

    await disks.run("mount", "-o", "remount,size=12m", str(here.directory / "disk"))
    await sender.until(200)
    await here.until(lambda: not list((disk / "spool").glob("*.spool")))
    kept = {row[0] for row in await disks.rows(store, "SELECT process_id FROM callbacks")}
    assert set(sender.acknowledged) - kept == set()
    assert await daemon.stop() == 0


@pytest.mark.fault("the store", "is on a full disk without the spool", "store_unavailable")
async def test_a_spool_on_another_disk_takes_callbacks_while_the_stores_is_full(
    here: Any, client: aiohttp.ClientSession, disks: Disks
) -> None:
    disk = await disks.mount(here.directory / "disk", "8m")
    text = here.config.read_text()
    here.config.write_text(text.replace("/store.db", "/disk/store.db"))
    here.prefix = disks.prefix
    store = here.directory / "disk" / "store.db"
    daemon = await here.running()
    sender = Sender(client, daemon.callback_url)
    await sender.until(200)
    filler = fill(disk)

    async with asyncio.timeout(PATIENCE):
        while not daemon.named("callback_spooled"):
            assert await sender.post() == 200
    for _ in range(50):
        assert await sender.post() == 200
    status, said = await readiness(client, daemon)
    assert (status, said["ready"]) == (200, True)
    assert any("spool" in what for what in said["degraded"])

    assert daemon.named("store_recovered") == []

    filler.unlink()
    await daemon.said("store_recovered")
    kept = {row[0] for row in await disks.rows(store, "SELECT process_id FROM callbacks")}
    assert set(sender.acknowledged) - kept == set()
    assert daemon.named("callback_not_durable") == []
    assert await daemon.stop() == 0


@pytest.mark.fault("the store", "is full when a call has been made")
async def test_calls_under_way_when_the_disk_fills_are_recorded_when_there_is_room_again(
    here: Any, client: aiohttp.ClientSession, disks: Disks, application: Application
) -> None:
    disk = await disks.mount(here.directory / "disk", "8m")
    text = here.config.read_text().replace(f"{here.directory}/", f"{here.directory}/disk/")
    here.config.write_text(f'{text}[delivery]\nurl = "{application.url}"\n')
    here.prefix = disks.prefix
    store = here.directory / "disk" / "store.db"
    daemon = await here.running()
    lost = [here.world.add(callback="lose", notified="lose", finish_in=0.0) for _ in range(40)]
    items = [{"dossierId": p.dossier_id, "processId": p.process_id} for p in lost]
    async with client.post(f"{daemon.admin_url}/v1/processes", json=items, headers=ADMIN) as answer:
        assert answer.status == 201
    await daemon.said("notify_requested")
    filler = fill(disk)
    sender = Sender(client, daemon.callback_url)
    await sender.until(503)

    filler.unlink()
    wanted = {process.process_id for process in lost}
    await here.until(lambda: wanted <= set(application.delivered))
    query = "SELECT status FROM processes WHERE state = 'settled' ORDER BY process_id"
    ours = sorted(lost, key=lambda process: process.process_id)
    settled = await disks.rows(store, query)
    assert [[process.final_status] for process in ours] == settled
    assert await daemon.stop() == 0


async def test_a_full_disk_warns_before_and_at_the_start(
    here: Any, client: aiohttp.ClientSession, disks: Disks
) -> None:
    disk = await disks.mount(here.directory / "disk", "8m")
    text = here.config.read_text()
    here.config.write_text(text.replace("/store.db", "/disk/store.db"))
    here.prefix = disks.prefix
    (disk / "filler").write_bytes(bytes(7_500_000))
    daemon = await here.running()
    said = await daemon.said("disk_low")
    assert (said["place"], said["path"]) == ("store", str(here.directory / "disk"))
    assert said["free_mb"] == 0
    assert await Sender(client, daemon.callback_url).post() == 200


@pytest.mark.fault("the log", "goes to a full disk")
async def test_a_log_that_goes_to_a_full_disk_hurts_nobody(
    here: Any, client: aiohttp.ClientSession
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    here.prefix = ("sh", "-c", 'exec "$@" >/dev/full', "sh")
    daemon = await here.start(RECONCILER_LISTENER__PORT=str(port), RECONCILER_LOG__LEVEL="debug")
    sender = Sender(client, f"http://127.0.0.1:{port}/callbacks/assure")
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectorError):
                if await sender.post() == 200:
                    break
            await asyncio.sleep(0.1)
    for _ in range(300):
        assert await sender.post() == 200
    assert daemon.lines == []
    assert daemon.process.returncode is None
    daemon.process.terminate()
    assert await daemon.process.wait() == 0
    assert here.rows("SELECT count(DISTINCT process_id) FROM callbacks") == [(301,)]
