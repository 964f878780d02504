"""Starts child processes, waits for them, measures their memory, and always ends them."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import orjson

ROOT = Path(__file__).parent.parent
PATIENCE = 60.0
"""Seconds that a child may take to start or to end."""

_LOOK = 0.001
"""Seconds between two looks at what a child has written; bounds the error of a start's time."""

Json = dict[str, object]


class ChildError(Exception):
    """A child ended, or was silent, before it had done its work."""


class Child:
    """A Python program whose stdout is a file, so that reading it costs the measured run nothing.

    The file must be on a disk with room for the log.
    """

    def __init__(self, process: asyncio.subprocess.Process, out: Path, errors: Path) -> None:
        self.process = process
        self._out = out
        self._errors = errors

    async def line_with(self, member: bytes) -> Json:
        """Wait for the first line of JSON that holds ``member``. Raises ChildError."""
        looked, rest = 0, b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                with self._out.open("rb") as out:
                    while self.process.returncode is None or self._out.stat().st_size > looked:
                        news = out.read()
                        looked += len(news)
                        *lines, rest = (rest + news).split(b"\n")
                        for line in lines:
                            if member in line:
                                found: Json = orjson.loads(line)
                                return found
                        await asyncio.sleep(_LOOK)
        raise ChildError(f"no {member.decode()} from a child: {self._last_words()}")

    async def ready(self) -> Json:
        """Wait for the line in which the daemon says where it listens."""
        return await self.line_with(b'"event":"ready"')

    async def result(self) -> Json:
        """Wait for the end and return the last line, which is JSON. Raises ChildError."""
        if await self.process.wait() != 0:
            raise ChildError(f"a child failed: {self._last_words()}")
        found: Json = orjson.loads(self._out.read_bytes().splitlines()[-1])
        return found

    async def stop(self) -> None:
        """Ask it to end, as systemd does, and wait until it has. Raises ChildError."""
        await self._end(signal.SIGTERM)
        if self.process.returncode:
            raise ChildError(f"a child did not end well: {self._last_words()}")

    async def kill(self) -> None:
        """End it by force."""
        await self._end(signal.SIGKILL)

    def resident(self) -> tuple[float, float]:
        """Return resident memory in MB (10^6 bytes): now, and the most it ever was. Linux."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        sizes = dict(line.split(":", 1) for line in text.splitlines())
        now, most = (int(sizes[key].split()[0]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM"))
        return now, most

    def _last_words(self) -> str:
        return (self._errors.read_text() or self._out.read_text())[-2000:]

    async def _end(self, number: signal.Signals) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            await self.process.wait()


@asynccontextmanager
async def python(folder: Path, *words: str) -> AsyncIterator[Child]:
    """Run ``python *words`` from the project's root, and kill it if it outlives the block."""
    own = Path(tempfile.mkdtemp(dir=folder))
    out, errors = own / "stdout", own / "stderr"
    with out.open("wb") as stdout, errors.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *words), stdout=stdout, stderr=stderr, cwd=ROOT, env=_environment()
        )
    child = Child(process, out, errors)
    try:
        yield child
    finally:
        await child.kill()


async def until(condition: Callable[[], Awaitable[bool]], *, every: float) -> None:
    """Look ``every`` so many seconds until ``condition`` holds. Raises TimeoutError."""
    async with asyncio.timeout(2 * PATIENCE):
        while True:
            if await condition():
                return
            await asyncio.sleep(every)


def daemon_words(config: Path) -> Sequence[str]:
    """Return the words that run the daemon."""
    return ("-m", "reconciler", "run", "--config", str(config))


def _environment() -> dict[str, str]:
    """Return a user's environment: modules stay compiled, nothing overrides the configuration."""
    skipped = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    return {
        name: value
        for name, value in os.environ.items()
        if name not in skipped and not name.startswith("RECONCILER_")
    }
