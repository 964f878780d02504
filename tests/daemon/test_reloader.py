"""A reload that the stop overtakes."""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.config import Change, Configuration, load, resolve_secrets
from reconciler.daemon.certificates import Certificates
from reconciler.daemon.reload import ConfigSource, Reloader
from reconciler.telemetry.logging import LogSystem

BEFORE = """
[listener]
authorization = ["Bearer of-yesterday"]
[assure]
client_id = "demo"
client_secret = "a-client-secret"
"""
AFTER = BEFORE.replace("of-yesterday", "of-tomorrow")
PATIENCE = 60.0


class Bench:
    """A reloader with its configuration on a pipe, so that a reading lasts until it is fed."""

    def __init__(self, directory: Path, logs: LogSystem) -> None:
        self.applied: list[Change] = []
        directory.mkdir(exist_ok=True)
        self._path = directory / "reconciler.toml"
        self._path.write_text(BEFORE)
        settings = load(self._path, {})
        present = Configuration(settings, resolve_secrets(settings, {}), {})
        self._path.unlink()
        os.mkfifo(self._path)
        self._ended = asyncio.Event()
        self.ready = asyncio.Event()
        source = ConfigSource(self._path, {})
        self.reloader = Reloader(source, present, self, self, self.ready, logs)

    async def reload(self, *, stop_meanwhile: bool) -> None:
        """Reload once; let the stop begin while the file is being read."""
        self._ended.clear()
        self.reloader.ask()
        # Opened by both at once: by now the reading has begun.
        pipe = await asyncio.to_thread(self._path.open, "w")
        if stop_meanwhile:
            self.reloader.stop()
        with pipe:
            pipe.write(AFTER)
        await asyncio.wait_for(self._ended.wait(), PATIENCE)

    async def replace(self, change: Change, certificates: Certificates) -> None:
        self.applied.append(change)

    @contextmanager
    def around_reload(self) -> Iterator[None]:
        yield
        self._ended.set()


@pytest.mark.parametrize("stop_meanwhile", [False, True])
async def test_what_was_read_is_taken_on_unless_the_stop_has_begun_meanwhile(
    tmp_path: Path, stop_meanwhile: bool
) -> None:
    with (tmp_path / "log").open("w") as stream:
        logs = LogSystem(level="info", format="json", stream=stream)
        bench = Bench(tmp_path, logs)
        bench.ready.set()
        running = asyncio.create_task(bench.reloader.run())
        await bench.reload(stop_meanwhile=stop_meanwhile)
        bench.reloader.stop()
        async with asyncio.timeout(PATIENCE):
            await running
        logs.close(PATIENCE)
    events = [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()]
    changed = [change.changed for change in bench.applied]
    if stop_meanwhile:
        assert (changed, events) == ([], [])
    else:
        assert (changed, events) == ([("listener.authorization",)], ["config_reloaded"])


async def test_a_stop_ends_a_reloader_that_waits_also_before_the_daemon_is_ready(
    tmp_path: Path,
) -> None:
    with (tmp_path / "log").open("w") as stream:
        logs = LogSystem(level="info", format="json", stream=stream)
        for is_ready in (False, True):
            bench = Bench(tmp_path / str(is_ready), logs)
            if is_ready:
                bench.ready.set()
            running = asyncio.create_task(bench.reloader.run())
            await asyncio.sleep(0)
            bench.reloader.stop()
            async with asyncio.timeout(PATIENCE):
                await running
        logs.close(PATIENCE)
