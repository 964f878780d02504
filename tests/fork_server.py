"""Forks daemons and commands off a process that has imported the program; ``Forks`` runs it.

A start of ``python -m reconciler`` is a second of processor time for imports, and hundreds are
started by tests. The fork has the arguments, the environment, the folder and the streams that an
own interpreter would have.
"""

import gc
import json
import os
import signal
import socket
import sys
from typing import Any

import reconciler.daemon.build
import reconciler.daemon.service  # noqa: F401
from reconciler import cli

LONGEST = 1 << 18
"""Bytes of a request."""


def main(fd: int) -> None:
    """Serve requests until the other side is closed; a fork returns from here as its program."""
    cli._register()
    gc.freeze()
    children: set[int] = set()
    with socket.socket(fileno=fd) as asked:
        while True:
            message, streams, _, _ = socket.recv_fds(asked, LONGEST, 3)
            if not message:
                break
            request = json.loads(message)
            if pid := request.get("reap"):
                children.remove(pid)
                answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            else:
                answer = os.fork()
                if not answer:
                    break
                children.add(answer)
                for stream in streams:
                    os.close(stream)
            asked.send(json.dumps(answer).encode())
    if message:
        _become(request, streams)
    for pid in () if message else children:
        os.kill(pid, signal.SIGKILL)


def _become(request: dict[str, Any], streams: list[int]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.argv[1:] = request["arguments"]
    cli.main()


main(int(sys.argv[1]))
