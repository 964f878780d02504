"""A disk that turns read-only under a running daemon, as ext4 does after an error."""

import shutil
from typing import Any

import aiohttp
import pytest

from tests.e2e.test_disk_full import Disks, Sender, disks

__all__ = ["disks"]


@pytest.mark.fault("the store", "turns read-only", "store_unavailable")
async def test_callbacks_wait_in_the_spool_until_the_disk_of_the_store_can_be_written_again(
    here: Any, client: aiohttp.ClientSession, disks: Disks
) -> None:
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("needs mkfs.ext4 for a disk that can fail")
    image, disk = here.directory / "image", here.directory / "disk"
    with image.open("wb") as file:
        file.truncate(16 * 1024 * 1024)
    await disks.run("mkfs.ext4", "-q", str(image))
    await disks.run("mkdir", str(disk))
    try:
        await disks.run("mount", "-o", "loop", str(image), str(disk))
    except AssertionError:
        pytest.skip("loop devices are not allowed here")
    here.config.write_text(here.config.read_text().replace("/store.db", "/disk/store.db"))
    here.prefix = disks.prefix
    daemon = await here.running()
    sender = Sender(client, daemon.callback_url)
    await sender.until(200)

    await disks.run("mount", "-o", "remount,abort", str(disk))
    for _ in range(20):
        assert await sender.post() == 200
    await daemon.said("store_unavailable")
    assert daemon.named("callback_spooled")
    assert await daemon.stop() == 0

    await disks.run("umount", str(disk))
    await disks.run("mount", "-o", "loop", str(image), str(disk))
    daemon = await here.running()
    await daemon.said("spool_drained")
    kept = {
        row[0] for row in await disks.rows(disk / "store.db", "SELECT process_id FROM callbacks")
    }
    assert set(sender.acknowledged) - kept == set()
    assert await disks.rows(disk / "store.db", "PRAGMA integrity_check") == [["ok"]]
    assert await daemon.stop() == 0
