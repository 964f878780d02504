"""The stage for each test."""

from collections.abc import AsyncIterator
from pathlib import Path
from shutil import copy

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.reconcile.stage import Instance, Play


@pytest.fixture
async def play(tmp_path: Path, empty_store: Path) -> AsyncIterator[Play]:
    play = Play(tmp_path / "store.db")
    copy(empty_store, play.path)
    await play.open()
    app = web.Application()
    app.router.add_post("/callbacks/assure", play.listen)
    async with TestServer(app) as server:
        play.simulator.aim(str(server.make_url("/callbacks/assure")))
        yield play
        await play.close()


@pytest.fixture
async def one(play: Play) -> Instance:
    """A daemon that is up and has nothing to do."""
    return await play.daemon()
