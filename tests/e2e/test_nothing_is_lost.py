"""The promise: what was answered 200 is in the store, whatever happened next."""

import json
import shutil
import signal
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import AUTHORIZATION
from tests.e2e.load import Load


def kept(here: Any) -> set[str]:
    return {row[0] for row in here.rows("SELECT process_id FROM callbacks")}


@pytest.mark.parametrize("round_", range(3))
async def test_kill_9_under_load_loses_no_acknowledged_callback(here: Any, round_: int) -> None:
    here.world.faults.latency = 0.05
    daemon = await here.running()
    async with Load(daemon.callback_url) as load:
        await load.reached(300 + 200 * round_)
        await daemon.stop(signal.SIGKILL)
        acknowledged = set(load.acknowledged)
    assert acknowledged - kept(here) == set()

    await here.running()

    def all_applied() -> bool:
        left = here.rows("SELECT count(*) FROM callbacks WHERE outcome IS NULL")
        return bool(left[0][0] == 0)

    await here.until(all_applied)
    on_ledger = {row[0] for row in here.rows("SELECT process_id FROM processes")}
    assert acknowledged - on_ledger == set()


async def test_sigterm_under_load_loses_nothing_and_exits_0(here: Any) -> None:
    daemon = await here.running()
    async with Load(daemon.callback_url) as load:
        await load.reached(500)
        assert await daemon.stop() == 0
        assert load.acknowledged - kept(here) == set()
    assert daemon.named("stopped")
    assert daemon.stderr == ""
    assert here.rows("SELECT count(*) FROM callbacks WHERE outcome IS NULL") == [(0,)]


@pytest.mark.fault("the store", "is locked by another process", "store_unavailable")
async def test_callbacks_are_kept_in_the_spool_while_the_store_is_locked(here: Any) -> None:
    daemon = await here.running()
    with here.locked_store():
        async with Load(daemon.callback_url) as load:
            await load.reached(100)
            acknowledged = set(load.acknowledged)
        assert kept(here) & acknowledged == set()
        await daemon.said("store_unavailable")
    drained = await daemon.said("spool_drained")
    assert drained["count"] >= len(acknowledged)
    assert acknowledged - kept(here) == set()
    assert list((here.directory / "spool").glob("*.spool")) == []
    assert len(daemon.named("store_unavailable")) == 1
    assert await daemon.stop() == 0


async def test_a_spool_left_by_a_killed_daemon_is_drained_by_the_next(here: Any) -> None:
    daemon = await here.running()
    with here.locked_store():
        async with Load(daemon.callback_url) as load:
            await load.reached(50)
            await daemon.stop(signal.SIGKILL)
            acknowledged = set(load.acknowledged)
    assert kept(here) & acknowledged == set()
    following = await here.running()
    await following.said("spool_drained")
    assert acknowledged - kept(here) == set()


@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_callbacks_are_kept_in_the_spool_when_the_store_is_taken_from_under_the_daemon(
    here: Any, client: aiohttp.ClientSession, how: str
) -> None:
    daemon = await here.running()
    assert await daemon.post(client, AUTHORIZATION, "before") == 200
    await here.until(lambda: kept(here) == {"before"})
    aside = here.directory / "aside.db"
    here.store.rename(aside)
    if how == "replaced":
        shutil.copy(aside, here.store)

    assert await daemon.post(client, AUTHORIZATION, "after") == 200

    said = await daemon.said("store_replaced")
    assert f"{here.store} was {how} while it was open" in said["reason"]
    async with client.get(f"{daemon.admin_url}/ready") as answer:
        assert "replaced: " in json.dumps(await answer.json())
    assert len(list((here.directory / "spool").glob("*.spool"))) == 1
    await daemon.stop()

    aside.replace(here.store)  # as an operator who has noticed it would do
    following = await here.running()
    await following.said("spool_drained")
    assert kept(here) == {"before", "after"}
    assert await following.stop() == 0
