"""The daemon under load: a real child process that is stopped and killed now and then."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import orjson

from benchmarks.children import ROOT, Child, daemon_words

PATIENCE = 180.0
"""Seconds that a start or a stop may take, on a machine that does much else."""

_SERIOUS = (b'"level":"error"', b'"level":"critical"')
_LINE = 1024 * 1024


class DaemonError(Exception):
    """A daemon did not start, or did not end well."""


class Daemon:
    """Daemons one after the other, on one configuration. Keeps of their log only the errors."""

    def __init__(self, config: Path, folder: Path) -> None:
        self._config = config
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._is_doomed = False
        self.ready_at: float | None = None
        """On the monotonic clock; None while none is ready."""
        self.listener = self.admin = ""
        self.starts: list[tuple[float, str]] = []
        """When each was started, and how the one before had ended."""
        self.lines = 0
        self.errors: Counter[str] = Counter()
        """Lines of level error and above, by event."""
        self.ended_alone = 0

    async def start(self, after: str = "") -> None:
        """Start one and wait until it is ready. Raises DaemonError."""
        self.starts.append((time.monotonic(), after))
        self._ready.clear()
        with (self._folder / "stderr").open("ab") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, *daemon_words(self._config)),
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                cwd=ROOT,
                env=_environment(),
                limit=_LINE,
            )
        self._is_doomed = False
        self._reading = asyncio.create_task(self._read(self._process))
        try:
            async with asyncio.timeout(PATIENCE):
                await self._ready.wait()
        except TimeoutError:
            raise DaemonError(f"no daemon is ready: {self.stderr()}") from None

    async def end(self, number: signal.Signals) -> None:
        """End it by this signal and wait until it has ended. Raises DaemonError."""
        process = self._process
        if process is None:
            return
        self._is_doomed, self.ready_at = True, None
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            await process.wait()
        assert self._reading is not None
        await self._reading
        self._process = None
        if number is signal.SIGTERM and process.returncode:
            raise DaemonError(f"exit code {process.returncode} after SIGTERM: {self.stderr()}")

    async def check_db(self) -> str:
        """Return all that ``check-db`` finds in the store; "" where that is nothing."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "reconciler", "check-db", "--config", str(self._config)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=ROOT,
            env=_environment(),
        )
        output, _ = await process.communicate()
        return output.decode()[-2000:] if process.returncode else ""

    def resident(self) -> float | None:
        """Return resident memory in MB; None while none is ready."""
        if self._process is None or self.ready_at is None:
            return None
        try:
            return Child(self._process, Path(), Path()).resident()[0]
        except (OSError, KeyError):  # it has just ended
            return None

    def stderr(self) -> str:
        """Return all that they wrote there: nothing, if all is well."""
        return (self._folder / "stderr").read_text()[-2000:]

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.lines += 1
            if not self._ready.is_set() and b'"event":"ready"' in line:
                told = orjson.loads(line)
                self.listener, self.admin = told["listener"], told["admin"]
                self.ready_at = time.monotonic()
                self._ready.set()
            elif any(word in line for word in _SERIOUS):
                self.errors[orjson.loads(line)["event"]] += 1
        if not self._is_doomed:
            self.ended_alone += 1
            self.ready_at = None


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("RECONCILER_")}
