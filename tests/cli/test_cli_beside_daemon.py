"""The commands while a daemon holds the store, and what the daemon makes of it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import structlog

from reconciler.simulator import Simulator, World

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Place, Ran

LIMIT = 60.0
CONFIG = """\
[listener]
port = 0
[admin]
listen = "127.0.0.1:0"
[assure]
base_url = "{base_url}"
token_url = "{token_url}"
client_id = "demo"
client_secret = "demo-secret"
[reconcile]
sweep_interval = "100ms"
[store]
url = "sqlite:///{path}/ledger.db"
spool = "{path}/spool"
"""


class Daemon:
    """A child with its log."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self.admin = ""

    async def until(self, event: str, **fields: Any) -> dict[str, Any]:
        """Read the log up to a line of this name with these fields."""
        assert self.child.stdout is not None
        async with asyncio.timeout(LIMIT):
            async for line in self.child.stdout:
                told: dict[str, Any] = json.loads(line)
                if told["event"] == event and fields.items() <= told.items():
                    return told
        raise AssertionError(f"the log ended without {event}")

    async def get(self, path: str) -> Any:
        async with aiohttp.ClientSession() as session, session.get(self.admin + path) as answer:
            return await answer.json()


@asynccontextmanager
async def running(place: Place, simulator: Simulator) -> AsyncIterator[Daemon]:
    urls = {"base_url": simulator.base_url, "token_url": simulator.token_url}
    place.config.write_text(CONFIG.format(path=place.path, **urls))
    command = (sys.executable, "-m", "reconciler", "run")
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    daemon = Daemon(child)
    try:
        daemon.admin = (await daemon.until("ready"))["admin"]
        yield daemon
        child.terminate()
        await daemon.until("stopped")
        assert await child.wait() == 0
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def test_the_commands_work_beside_a_daemon_and_say_what_its_api_says(
    bare: Place, reconciler: Command
) -> None:
    async def beside(*arguments: str) -> Ran:
        return await asyncio.to_thread(reconciler, *arguments)

    world = World(seed=1)
    simulator = Simulator(world, log=structlog.wrap_logger(None, processors=[_drop]))
    await simulator.start()
    try:
        lost = world.add(finish_in=0, callback="lose", final_status="rejected")
        async with running(bare, simulator) as daemon:
            assert (await beside("track", lost.dossier_id, lost.process_id)).code == 0
            assert (await beside("track", "d2", "p2", "--reference", "order 17")).code == 0

            for path, arguments in (
                ("/v1/processes", ("list", "--json")),
                ("/v1/processes?limit=1", ("list", "--limit", "1", "--json")),
                ("/v1/processes?state=gone", ("list", "--state", "gone", "--json")),
                ("/v1/processes/p2", ("show", "p2", "--json")),
            ):
                assert (await beside(*arguments)).json == await daemon.get(path)
            told, status = await daemon.get("/v1/status"), (await beside("status", "--json")).json
            assert list(status) == list(told)
            for member in ("states", "breaker", "outbox", "spooled", "lastCallbackAt"):
                assert status[member] == told[member]
            assert [each["pid"] for each in status["instances"]] == [daemon.child.pid]
            assert f"process {daemon.child.pid}, " in (await beside("status")).out
            assert (await beside("init-db")).said == ["reconciler: the store is up to date"]

            assert (await beside("recheck", lost.process_id, "--fetch")).code == 0
            settled = await daemon.until("process_settled", process_id=lost.process_id)
            assert (settled["status"], settled["by"]) == ("rejected", "fetch")
            shown = (await beside("show", lost.process_id, "--json")).json
            assert (shown["state"], shown["status"]) == ("settled", "rejected")

            assert (await beside("backup", "copy.db")).code == 0
            checked = await beside("check-db", "--json")
            assert (checked.code, checked.json["findings"]) == (0, [])

            assert (await beside("forget", "p2")).code == 0
            # Logged by the daemon, not only on the command's stderr.
            forgotten = await daemon.until("operator_action", action="forget")
            assert "process_id" not in forgotten
            done = (await beside("actions", "--json")).json
            assert done == await daemon.get("/v1/actions?limit=50")
            assert {each["action"] for each in done["items"]} == {
                *("register", "recheck", "backup", "forget")
            }
            assert (await beside("show", "p2")).code == 3
            assert "error" in await daemon.get("/v1/processes/p2")
    finally:
        await simulator.stop()

    assert (await beside("status", "--json")).json["instances"] == []


def _drop(*_: Any) -> Any:
    raise structlog.DropEvent
