"""A store on a mount that takes no write can be read."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.read_only import can_mount, with_read_only

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


@pytest.mark.skipif(not can_mount(), reason="needs root and mount namespaces")
def test_a_store_on_a_read_only_mount_can_be_listed(path: Path) -> None:
    read = [sys.executable, "-c", READ, f"sqlite:///{path}"]
    done = subprocess.run(
        [*with_read_only(path.parent), *read], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("([], None)\n", "")
