"""At least once, whatever dies: the receiver plays the user's application."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Application:
    """Takes deliveries, verifies each, and can hold its answers back."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[tuple[str, str]] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self._news = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = Webhook(SECRET).verify(await request.read(), dict(request.headers))
        self.got.append((request.headers["webhook-id"], body["data"]["processId"]))
        async with self._news:
            self._news.notify_all()
        await self.answering.wait()
        return web.Response()

    async def has(self, count: int) -> None:
        async with asyncio.timeout(60), self._news:
            await self._news.wait_for(lambda: len({key for _, key in self.got}) >= count)


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    made = Application()
    app = web.Application()
    app.router.add_post("/events", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/events"
    yield made
    made.answering.set()
    await runner.cleanup()


def settings(application: Application, **more: str) -> dict[str, str]:
    return {
        "RECONCILER_DELIVERY__URL": application.url,
        "RECONCILER_DELIVERY__SECRET": SECRET,
        "RECONCILER_DELIVERY__TIMEOUT": "1s",
        "RECONCILER_DELIVERY__BACKOFF": '{"initial": "100ms", "max": "1s"}',
        **more,
    }


def finished(here: Any, count: int) -> list[str]:
    made = [here.world.add() for _ in range(count)]
    for process in made:
        here.world.finish(process.process_id)
    return [process.process_id for process in made]


async def test_each_result_reaches_the_application_signed(
    here: Any, application: Application
) -> None:
    daemon = await here.running(**settings(application))
    wanted = finished(here, 20)
    await application.has(20)
    await daemon.said("delivery_succeeded", 20)
    assert await daemon.stop() == 0
    assert Counter(key for _, key in application.got) == Counter(wanted)
    assert SECRET.removeprefix("whsec_") not in "".join(daemon.lines)


async def test_kill_9_between_post_and_mark_gives_a_duplicate_with_the_same_id(
    here: Any, application: Application
) -> None:
    application.answering.clear()
    daemon = await here.running(**settings(application))
    wanted = finished(here, 5)
    await application.has(5)
    await daemon.stop(signal.SIGKILL)
    application.answering.set()
    first = set(application.got)
    await here.running(**settings(application))
    await here.until(lambda: len(application.got) >= 10)
    assert set(application.got) == first
    assert {key for _, key in application.got} == set(wanted)


async def test_kill_9_between_commit_and_post_forgets_nothing(
    here: Any, application: Application
) -> None:
    closed = settings(application, RECONCILER_DELIVERY__URL="http://127.0.0.1:9/events")
    daemon = await here.running(**closed)
    wanted = finished(here, 10)
    await here.until(
        lambda: here.rows("SELECT count(*) FROM deliveries WHERE state = 'pending'") == [(10,)]
    )
    await daemon.stop(signal.SIGKILL)
    await here.running(**settings(application))
    await application.has(10)
    assert {key for _, key in application.got} == set(wanted)


async def test_results_from_before_there_was_a_url_are_delivered_on_request(
    here: Any, application: Application
) -> None:
    daemon = await here.running()
    wanted = finished(here, 3)
    await daemon.said("process_settled", 3)
    assert await daemon.stop() == 0
    assert here.rows("SELECT count(*) FROM deliveries") == [(0,)]
    told = settings(application)
    code, out, _ = await here.command(
        "redeliver", "--since", "2020-01-01T00:00:00Z", "--json", **told
    )
    assert (code, '"due": 3' in out) == (0, True)
    await here.running(**told)
    await application.has(3)
    assert {key for _, key in application.got} == set(wanted)
