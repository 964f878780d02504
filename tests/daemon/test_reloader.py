"""A reload that the stop overtakes."""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from reconciler.config import Change, load, resolve_secrets
from reconciler.daemon.reload import Reloader, reading
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
        self.is_stopping = False
        self._path = directory / "reconciler.toml"
        self._path.write_text(BEFORE)
        settings = load(self._path, {})
        present = reading(settings, resolve_secrets(settings, {}))
        self._path.unlink()
        os.mkfifo(self._path)
        self._ended = asyncio.Event()
        self.reloader = Reloader(
            self._path, {}, present, apply=self._apply, logs=logs, around=self._around
        )

    async def reload(self, *, stop_meanwhile: bool) -> None:
        """Reload once; let the stop begin while the file is being read."""
        self._ended.clear()
        self.reloader.ask()
        # Opened by both at once: by now the reading has begun.
        pipe = await asyncio.to_thread(self._path.open, "w")
        self.is_stopping = stop_meanwhile
        with pipe:
            pipe.write(AFTER)
        await asyncio.wait_for(self._ended.wait(), PATIENCE)

    async def _apply(self, change: Change) -> None:
        self.applied.append(change)

    @contextmanager
    def _around(self) -> Iterator[None]:
        yield
        self._ended.set()


@pytest.mark.parametrize("stop_meanwhile", [False, True])
async def test_what_was_read_is_taken_on_unless_the_stop_has_begun_meanwhile(
    tmp_path: Path, stop_meanwhile: bool
) -> None:
    with (tmp_path / "log").open("w") as stream:
        logs = LogSystem(level="info", format="json", stream=stream)
        bench = Bench(tmp_path, logs)
        ready = asyncio.Event()
        ready.set()
        running = asyncio.create_task(bench.reloader.run(ready, lambda: bench.is_stopping))
        await bench.reload(stop_meanwhile=stop_meanwhile)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        logs.close(PATIENCE)
    events = [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()]
    changed = [change.changed for change in bench.applied]
    if stop_meanwhile:
        assert (changed, events) == ([], [])
    else:
        assert (changed, events) == ([("listener.authorization",)], ["config_reloaded"])
