"""The notifier's messages, read from a real datagram socket."""

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from structlog.testing import LogCapture

from reconciler.systemd.notify import Notifier, forget
from reconciler.systemd.watchdog import Watchdog


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a service manager, under a path or an abstract name."""
    address = str(tmp_path / "notify") if request.param == "path" else f"\0{uuid4().hex}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(address)
        bound.settimeout(30)
        yield bound


def environ_of(manager: socket.socket, **more: str) -> dict[str, str]:
    name = manager.getsockname()
    path = "@" + name[1:].decode() if isinstance(name, bytes) else name
    return {"NOTIFY_SOCKET": path, **more}


def test_each_message_is_one_datagram(manager: socket.socket) -> None:
    notifier = Notifier(environ_of(manager))
    notifier.ready()
    notifier.watchdog()
    notifier.stopping()
    notifier.status("takes callbacks\nWATCHDOG=trigger")
    assert [manager.recv(4096) for _ in range(4)] == [
        b"READY=1",
        b"WATCHDOG=1",
        b"STOPPING=1",
        b"STATUS=takes callbacks WATCHDOG=trigger",
    ]


def test_a_reload_is_told_together_with_its_time(manager: socket.socket) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notifier(environ_of(manager)).reloading()
    first, second = manager.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    name, _, at = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(at) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_a_reload_that_ends_after_the_stop_has_begun_is_not_told_as_ready(
    manager: socket.socket,
) -> None:
    notifier = Notifier(environ_of(manager))
    with notifier.around_reload():
        assert not notifier.is_stopping
        notifier.stopping()
        assert notifier.is_stopping
    notifier.status("the end")
    told = [manager.recv(4096).decode().split("\n")[0] for _ in range(3)]
    assert told == ["RELOADING=1", "STOPPING=1", "STATUS=the end"]


def test_a_manager_that_does_not_read_never_blocks_us(manager: socket.socket) -> None:
    notifier = Notifier(environ_of(manager))
    for _ in range(10_000):  # the queue of such a socket holds some 10 to 500
        notifier.watchdog()


@pytest.mark.parametrize("path", ["", "/nowhere/notify", "@nobody-has-this", "/" + 200 * "x"])
def test_without_a_manager_nothing_happens(path: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": path})
    notifier.ready()
    notifier.reloading()
    Notifier({}).ready()


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(os.getpid())}, 2.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_for_this_process_only(said: dict[str, str], seconds: float | None) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/run/notify", **said}).watchdog_timeout == seconds
    assert Notifier(said).watchdog_timeout is None


def test_children_do_not_see_what_was_said_to_us() -> None:
    environ = {"NOTIFY_SOCKET": "/n", "LISTEN_FDS": "1", "WATCHDOG_USEC": "1", "PATH": "/bin"}
    forget(environ)
    assert environ == {"PATH": "/bin"}


class Jobs:
    """Jobs that are as stale as a test wants."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.asked = 0

    def stale(self) -> list[str]:
        self.asked += 1
        return list(self.names)

    async def asked_again(self, times: int) -> None:
        until = self.asked + times
        async with asyncio.timeout(30):
            while self.asked < until:
                await asyncio.sleep(0.001)


async def test_pings_come_only_while_nothing_is_stale(manager: socket.socket) -> None:
    manager.setblocking(False)
    loop = asyncio.get_running_loop()
    jobs = Jobs()

    capture = LogCapture()
    log = structlog.wrap_logger(structlog.ReturnLogger(), processors=[capture])
    notifier = Notifier(environ_of(manager, WATCHDOG_USEC="10000"))
    watchdog = Watchdog(notifier, jobs, log)
    watchdog.start()
    for _ in range(3):
        assert await loop.sock_recv(manager, 4096) == b"WATCHDOG=1"

    jobs.names.append("sweep")
    await jobs.asked_again(1)
    with suppress(BlockingIOError):  # those that came before it was stale
        while True:
            manager.recv(4096)
    await jobs.asked_again(3)
    with pytest.raises(BlockingIOError):
        manager.recv(4096)
    (line,) = capture.entries
    assert line == {"event": "watchdog_withheld", "log_level": "error", "loops": ["sweep"]}

    jobs.names.clear()
    assert await loop.sock_recv(manager, 4096) == b"WATCHDOG=1"
    watchdog.stop()


async def test_nobody_is_pinged_who_does_not_watch(manager: socket.socket) -> None:
    jobs = Jobs()
    watchdog = Watchdog(Notifier(environ_of(manager)), jobs, structlog.get_logger())
    watchdog.start()
    await asyncio.sleep(0)
    watchdog.stop()
    assert jobs.asked == 0
