"""Runs ``python -m reconciler`` as a child, without its imports where that changes nothing."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

SERVER = Path(__file__).with_name("fork_server.py")
IS_POSSIBLE = hasattr(os, "pidfd_open") and "COVERAGE_PROCESS_CONFIG" not in os.environ
"""On Linux; and coverage would not see what a fork does."""

READ_AT_START = ("LD_", "PYTHON", "MALLOC_", "GLIBC_", "OPENSSL_", "TZ", "LANG", "LC_")
"""How variables begin that only a new interpreter obeys."""

LONGEST_LINE = 1 << 20


class Forked:
    """A process that was forked off; what tests use of ``asyncio.subprocess.Process``."""

    def __init__(
        self,
        forks: "Forks",
        pid: int,
        stdout: asyncio.StreamReader,
        stderr: asyncio.StreamReader | None,
    ) -> None:
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self._forks = forks
        self._has_ended = asyncio.Event()
        self._handle = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._handle, self._end)

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)
        self.returncode = self._forks.ask(reap=self.pid)
        self._has_ended.set()

    async def wait(self) -> int:
        await self._has_ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        """Read both streams to their end, and wait."""
        assert self.stderr is not None
        out, err = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return out, err

    def send_signal(self, number: int) -> None:
        if self.returncode is not None:
            raise ProcessLookupError
        signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Process = asyncio.subprocess.Process | Forked


class Forks:
    """Starts children; the first start pays for the imports."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    async def run(
        self, *arguments: str, environ: Mapping[str, str], stderr: IO[bytes] | None = None
    ) -> Process:
        """Start ``reconciler`` with ``arguments``; its stdout is a pipe, and its stderr too."""
        if not IS_POSSIBLE or _needs_interpreter(environ):
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "reconciler", *arguments),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE if stderr is None else stderr,
                env=environ,
                limit=LONGEST_LINE,
            )
        out, out_write = await _pipe()
        err, err_write = await _pipe() if stderr is None else (None, os.dup(stderr.fileno()))
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            pid = self.ask(
                (nothing, out_write, err_write),
                arguments=arguments,
                environ=dict(environ),
                folder=str(Path.cwd()),
            )
        finally:
            for stream in (nothing, out_write, err_write):
                os.close(stream)
        return Forked(self, pid, out, err)

    def ask(self, streams: tuple[int, ...] = (), **request: Any) -> int:
        """Send a request to the server and return the number that it answers."""
        if self._socket is None:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._server = subprocess.Popen(
                    [sys.executable, "-P", str(SERVER), str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
        socket.send_fds(self._socket, [json.dumps(request).encode()], streams)
        return int(json.loads(self._socket.recv(64)))

    def close(self) -> None:
        """End the server; it kills what is left."""
        if self._socket is not None and self._server is not None:
            self._socket.close()
            self._server.wait()


def _needs_interpreter(environ: Mapping[str, str]) -> bool:
    changed = dict(set(environ.items()) ^ set(os.environ.items()))
    return any(name.startswith(READ_AT_START) for name in changed)


async def _pipe() -> tuple[asyncio.StreamReader, int]:
    read, write = os.pipe()
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read, "rb", buffering=0)
    )
    return reader, write
