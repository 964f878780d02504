import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import structlog
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpServer

from reconciler.simulator import Faults, SimProcess, Simulator, World

Ask = Callable[[SimProcess], Coroutine[Any, Any, tuple[int, Any]]]


def answered(world: World) -> list[int]:
    """The HTTP statuses of the callbacks that have ended."""
    return [
        c.http_status for c in world.calls if c.kind == "callback" and c.http_status is not None
    ]


async def ended(world: World, callbacks: int) -> None:
    """Wait until so many callbacks have ended."""
    await world.until(lambda: len(answered(world)) == callbacks)


async def test_a_process_that_finishes_by_itself_sends_one_callback(
    world: World, received: list[Any]
) -> None:
    process = world.add(final_status="inconclusive", finish_in=0)

    await world.until(lambda: answered(world) == [200])

    assert received == [
        {
            "dossierId": process.dossier_id,
            "processId": process.process_id,
            "status": "inconclusive",
        }
    ]
    assert process.callbacks_sent == 1


async def test_the_authorization_value_is_sent_as_it_is_and_only_when_set(
    world: World, simulator: Simulator, aiohttp_server: AiohttpServer
) -> None:
    seen: list[str | None] = []

    async def take(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    url = str((await aiohttp_server(app)).make_url("/"))

    for count, authorization in enumerate(("", "Basic for-development"), start=1):
        simulator.aim(url, authorization)
        world.finish(world.add().process_id)
        await ended(world, count)

    assert seen == [None, "Basic for-development"]


@pytest.mark.parametrize("http_status", [302, 401, 500])
async def test_a_callback_that_is_not_answered_200_is_not_repeated(
    world: World, simulator: Simulator, aiohttp_server: AiohttpServer, http_status: int
) -> None:
    arrivals: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        arrivals.append((await request.json())["processId"])
        return web.Response(status=http_status, headers={"Location": "/"})

    app = web.Application()
    app.router.add_route("*", "/", refuse)
    simulator.aim(str((await aiohttp_server(app)).make_url("/")))

    first, second = world.add(), world.add()
    for count, process in enumerate((first, second), start=1):
        world.finish(process.process_id)
        await ended(world, count)

    assert answered(world) == [http_status, http_status]
    assert arrivals == [first.process_id, second.process_id]


async def test_a_receiver_that_does_not_answer_in_time_is_given_up(
    world: World, aiohttp_server: AiohttpServer
) -> None:
    never = asyncio.Event()
    app = web.Application()

    async def hang(_: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    app.router.add_post("/", hang)
    server = await aiohttp_server(app)
    simulator = Simulator(
        world,
        log=structlog.get_logger(),
        callback_url=str(server.make_url("/")),
        callback_timeout=0.05,
    )
    await simulator.start()
    try:
        process = world.finish(world.add().process_id)
        await world.until(lambda: answered(world) == [0])
    finally:
        never.set()
        await simulator.stop()

    assert process.callbacks_sent == 1


async def test_a_callback_to_nobody_is_recorded_without_an_answer(
    world: World, simulator: Simulator
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        simulator.aim(f"http://127.0.0.1:{unused.getsockname()[1]}/")
        world.finish(world.add().process_id)
        await world.until(lambda: answered(world) == [0])


async def test_a_lost_callback_is_never_sent_and_notify_sends_it(
    world: World, received: list[Any], notify: Ask
) -> None:
    lost, sent = world.add(callback="lose"), world.add()
    world.finish(lost.process_id, "accepted")
    world.finish(sent.process_id, "accepted")
    await ended(world, 1)
    assert [body["processId"] for body in received] == [sent.process_id]
    assert (lost.callbacks_sent, lost.callbacks_lost) == (0, 1)

    assert (await notify(lost))[0] == 204
    await ended(world, 2)

    assert received[1] == {
        "dossierId": lost.dossier_id,
        "processId": lost.process_id,
        "status": "accepted",
    }
    assert (lost.callbacks_sent, lost.notifies) == (1, 1)


async def test_each_notify_sends_one_callback(
    world: World, received: list[Any], notify: Ask
) -> None:
    process = world.finish(world.add().process_id)

    for _ in range(3):
        await notify(process)
    await ended(world, 4)

    assert len(received) == 4
    assert all(body == received[0] for body in received)


@pytest.mark.parametrize("by_process", [True, False])
async def test_a_notified_callback_can_be_lost_while_notify_says_yes(
    world: World, received: list[Any], notify: Ask, by_process: bool
) -> None:
    unlucky = world.add(notified="lose" if by_process else "send")
    world.faults.lose_notified = 0.0 if by_process else 1.0
    world.finish(unlucky.process_id)

    assert (await notify(unlucky))[0] == 204
    world.finish(world.add().process_id)
    await ended(world, 2)

    assert [body["processId"] for body in received].count(unlucky.process_id) == 1
    assert unlucky.callbacks_lost == 1


async def test_a_share_of_callbacks_is_lost(world: World, received: list[Any]) -> None:
    world.faults.lose_callbacks = 0.5
    for _ in range(60):
        world.add(finish_in=0)

    await world.until(lambda: all(p.finished for p in world.processes.values()))
    lost = {p.process_id for p in world.processes.values() if p.callbacks_lost}
    await ended(world, 60 - len(lost))

    assert 15 < len(lost) < 45
    assert {body["processId"] for body in received} == set(world.processes) - lost


async def test_a_duplicate_goes_out_twice_with_the_same_body(
    world: World, received: list[Any]
) -> None:
    world.faults.duplicate_callbacks = 1.0
    process = world.finish(world.add().process_id)

    await ended(world, 2)

    assert received[0] == received[1]
    assert process.callbacks_sent == 2


async def test_a_wrong_claim_names_another_final_status_than_the_truth(
    world: World, received: list[Any], fetch: Ask
) -> None:
    world.faults.wrong_claim = 1.0
    process = world.finish(world.add().process_id, "accepted")

    await ended(world, 1)

    assert received[0]["status"] in {"rejected", "inconclusive", "canceled", "failed"}
    assert (await fetch(process))[1]["status"] == "accepted"


async def test_a_revised_status_sends_a_callback_of_its_own(
    world: World, received: list[Any]
) -> None:
    process = world.finish(world.add().process_id, "accepted")
    await ended(world, 1)

    world.finish(process.process_id, "rejected")
    await ended(world, 2)

    assert [body["status"] for body in received] == ["accepted", "rejected"]


async def test_without_a_callback_url_nothing_is_sent(
    world: World, simulator: Simulator, fetch: Ask
) -> None:
    process = world.add(final_status="accepted", finish_in=0)
    await world.until(lambda: process.finished)

    assert (await fetch(process))[1]["status"] == "accepted"
    assert process.callbacks_sent == 0


async def test_what_was_due_while_stopped_goes_out_after_the_next_start(
    world: World, simulator: Simulator, received: list[Any]
) -> None:
    await simulator.stop()
    process = world.finish(world.add().process_id)

    await simulator.start()
    await world.until(lambda: answered(world) == [200])

    assert [body["processId"] for body in received] == [process.process_id]


@pytest.mark.parametrize(
    ("url", "authorization"),
    [("ftp://127.0.0.1/", ""), ("http://", ""), ("http://127.0.0.1/", "two\r\nlines")],
)
def test_a_target_that_cannot_be_sent_to_is_refused(
    world: World, url: str, authorization: str
) -> None:
    with pytest.raises(ValueError, match=r"callback URL|Authorization"):
        Simulator(world, log=structlog.get_logger(), callback_url=url, authorization=authorization)


def test_the_faults_of_a_world_are_its_own() -> None:
    one, other = World(faults=Faults(down=True)), World()

    assert (one.faults.down, other.faults.down) == (True, False)


async def test_callbacks_can_spell_the_ids_in_capitals(world: World, received: list[Any]) -> None:
    world.faults.capital_ids = True
    process = world.add(final_status="accepted", finish_in=0)

    await world.until(lambda: answered(world) == [200])

    assert [(each["dossierId"], each["processId"]) for each in received] == [
        (process.dossier_id.upper(), process.process_id.upper())
    ]
