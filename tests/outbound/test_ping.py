"""The dead-man ping against a real server: what it sends, how often, what it logs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import unused_port
from structlog.testing import LogCapture

from reconciler.outbound.ping import Ping
from reconciler.outbound.session import build_session, trusting
from tests.clock import PlayedClock

SECRET = "canary-of-the-ping-5b1f"


@dataclass
class Service:
    """The service that expects pings."""

    status: int = 200
    pings: list[tuple[str, str]] = field(default_factory=list)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def take(self, request: web.Request) -> web.Response:
        self.pings.append((request.method, request.path))
        await self.answers.wait()
        return web.Response(status=self.status, text="OK")


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    service.answers.set()
    app = web.Application()
    app.router.add_route("*", "/{path}", service.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.port = runner.addresses[0][1]
    yield service
    service.answers.set()
    await runner.cleanup()


@dataclass
class Aimed:
    """A ping with its URL and its interval."""

    ping: Ping
    url: str

    def send(self) -> None:
        self.ping.send(self.url, 60)

    async def stop(self) -> None:
        await self.ping.stop()


Make = Callable[[int], Aimed]


@pytest.fixture
def log() -> LogCapture:
    return LogCapture()


@pytest.fixture
def clock() -> PlayedClock:
    return PlayedClock()


@pytest.fixture
async def make(log: LogCapture, clock: PlayedClock) -> AsyncIterator[Make]:
    made: list[Aimed] = []

    def build(port: int) -> Aimed:
        lines = structlog.wrap_logger(None, processors=[log])
        ping = Ping(build_session(trusting(""), 1), clock, lines)
        made.append(Aimed(ping, f"http://127.0.0.1:{port}/{SECRET}"))
        return made[-1]

    yield build
    for ping in made:
        await ping.stop()


async def sent(ping: Aimed) -> None:
    """Send, and wait until it has come to an end, however."""
    ping.send()
    await ended()


async def ended() -> None:
    for task in asyncio.all_tasks():
        if task.get_name() == "ping":
            await asyncio.wait({task})


def said(log: LogCapture) -> list[dict[str, Any]]:
    return [dict(entry) for entry in log.entries if entry["log_level"] != "debug"]


async def test_it_gets_the_url(service: Service, make: Make, log: LogCapture) -> None:
    await sent(make(service.port))

    assert service.pings == [("GET", f"/{SECRET}")]
    assert said(log) == []


@pytest.mark.parametrize(
    ("times", "pings"),
    [
        ((0, 30, 53), 1),
        ((0, 60, 120), 3),
        ((0, 62, 120, 180), 4),  # a summary that came late costs no ping
        ((0, 10, 60, 70, 120), 3),
    ],
)
async def test_it_is_not_sent_more_often_than_the_interval_says(
    service: Service, make: Make, clock: PlayedClock, times: tuple[float, ...], pings: int
) -> None:
    ping = make(service.port)
    for at in times:
        clock.at = 1000.0 + at
        await sent(ping)

    assert len(service.pings) == pings


async def test_a_service_that_hangs_holds_up_nobody_and_gets_no_second_ping(
    service: Service, make: Make, clock: PlayedClock
) -> None:
    service.answers.clear()
    ping = make(service.port)
    ping.send()
    while not service.pings:
        await asyncio.sleep(0.01)
    clock.move(600)
    ping.send()
    await ping.stop()

    assert len(service.pings) == 1


async def test_a_run_of_failures_is_said_once_and_so_is_its_end(
    service: Service, make: Make, log: LogCapture, clock: PlayedClock
) -> None:
    ping = make(service.port)
    for service.status in (200, 404, 500, 404, 200, 503):
        await sent(ping)
        clock.move(60)

    assert [(line["event"], line.get("error")) for line in said(log)] == [
        ("heartbeat_failed", "http_404"),
        ("heartbeat_recovered", None),
        ("heartbeat_failed", "http_503"),
    ]
    assert SECRET not in str(log.entries)


async def test_nobody_there_is_a_failure_that_does_not_tell_the_url(
    make: Make, log: LogCapture
) -> None:
    await sent(make(unused_port()))

    assert [(line["event"], line["error"]) for line in said(log)] == [
        ("heartbeat_failed", "connection_refused")
    ]
    assert SECRET not in str(log.entries)


async def test_another_url_is_pinged_at_once(
    service: Service, make: Make, clock: PlayedClock
) -> None:
    ping = make(service.port)
    await sent(ping)
    clock.move(1)
    ping.ping.send(f"http://127.0.0.1:{service.port}/other", 60)
    await ended()

    assert [path for _, path in service.pings] == [f"/{SECRET}", "/other"]


async def test_stopping_one_that_was_never_sent_is_nothing(make: Make) -> None:
    stop: Awaitable[None] = make(1).stop()
    await stop
