"""A store on a mount that takes no write can be read."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

READ = """
import asyncio, sys
from reconciler.store.open import open_store, prepare

async def main(url):
    store = await open_store(url, is_daemon=False, read_only=True)
    print(await store.views.page(state=None, limit=9, cursor=None))
    await store.database.close()

prepare(sys.argv[1], may_create=False, may_migrate=False)
asyncio.run(main(sys.argv[1]))
"""


def can_mount() -> bool:
    if os.geteuid() or shutil.which("unshare") is None:
        return False
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return not tried.returncode


@pytest.mark.skipif(not can_mount(), reason="needs root and mount namespaces")
def test_a_store_on_a_read_only_mount_can_be_listed(path: Path) -> None:
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
    read = [sys.executable, "-c", READ, f"sqlite:///{path}"]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount, "sh", str(path.parent), *read],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("([], None)\n", "")
