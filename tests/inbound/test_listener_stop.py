"""A stop loses nothing: an accepted request is answered, others wait for the next process."""

import asyncio
import socket

import pytest

from reconciler.inbound.limits import LIMITS
from tests.inbound.conftest import PATIENCE, BuildHouse, Dial, House, Plan, Wire, body, post

ROUNDS = 10


async def stop(house: House) -> None:
    async with asyncio.timeout(PATIENCE):
        await house.stop_listener()


async def test_restarts_under_load_lose_nothing(build: BuildHouse, wires: Dial) -> None:
    """The test keeps the listening socket open, as systemd does: nothing is ever refused."""
    house = await build(Plan(stop_linger=LIMITS.stop_linger))
    is_over = asyncio.Event()
    answered: list[str] = []

    async def closed_loop(name: str, *, keeps: bool) -> None:
        wire: Wire | None = None
        number = 0
        while not is_over.is_set():
            number += 1
            process_id = f"{name}-{number}"
            wire = wire or await wires(house)
            headers = () if keeps else ("Connection: close",)
            answer = await wire.ask(post(body(processId=process_id), *headers))
            assert answer.status == 200
            answered.append(process_id)
            if answer.headers.get("connection") == "close":
                await wire.close()
                wire = None

    clients = [
        asyncio.create_task(closed_loop(f"client-{number}", keeps=number % 2 == 0))
        for number in range(16)
    ]
    for _ in range(ROUNDS):
        answered_before = len(answered)
        async with asyncio.timeout(PATIENCE):
            while len(answered) < answered_before + 100:
                await asyncio.sleep(0.002)
        await stop(house)
        await house.restart()
    is_over.set()
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*clients)
    await stop(house)

    assert len(answered) > 100 * ROUNDS
    assert sorted(await house.stored_ids()) == sorted(answered)


async def test_a_stop_waits_for_the_answer_that_is_under_way(house: House, wires: Dial) -> None:
    working, idle = await wires(house), await wires(house)
    assert (await idle.ask(post(body(processId="p-0")))).status == 200
    house.gate.is_open.clear()
    await working.send(post(body()))
    await house.gate.knocked.wait()
    stopping = asyncio.create_task(stop(house))
    await asyncio.wait({stopping}, timeout=0.05)

    assert not stopping.done()
    house.gate.is_open.set()
    answer = await working.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    await stopping
    assert await idle.rest() == await working.rest() == b""
    assert await house.stored_ids() == ["p-0", "p-1"]


async def test_a_stop_does_not_wait_for_clients_that_say_nothing(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(Plan(shutdown=3600.0))
    silent, idle = await wires(house), await wires(house)
    assert (await idle.ask(post(body()))).status == 200

    await stop(house)

    assert await silent.rest() == await idle.rest() == b""


@pytest.mark.usefixtures("wires")
async def test_a_connection_that_waits_in_the_kernel_is_still_served(house: House) -> None:
    with socket.create_connection(house.listening.getsockname()) as waiting:
        waiting.sendall(post(body()))
        await stop(house)
        waiting.setblocking(False)
        assert waiting.recv(4096).startswith(b"HTTP/1.1 200 ")


async def test_a_request_that_has_begun_may_still_end_during_the_stop(
    house: House, wires: Dial
) -> None:
    wire, other = await wires(house), await wires(house)
    await wire.send(post(body())[:40])
    await other.ask(post(b"", path="/other"))
    stopping = asyncio.create_task(stop(house))
    await asyncio.wait({stopping}, timeout=0.05)
    assert not stopping.done()

    await wire.send(post(body())[40:])

    assert (await wire.answer()).status == 200
    await stopping


async def test_a_request_that_never_ends_holds_a_stop_up_for_its_time_only(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(Plan(request_timeout=0.2))
    wire = await wires(house)
    await wire.send(post(body())[:-1])
    await (await wires(house)).ask(post(b"", path="/other"))

    await stop(house)

    assert await wire.rest() == b""


async def test_a_request_that_we_never_answer_does_not_hold_a_stop_up_for_ever(
    build: BuildHouse, wires: Dial
) -> None:
    """Such as when the intake has died of a bug."""
    house = await build(Plan(parts=(), request_timeout=0.1, answering=0.1, shutdown=0.1))
    wire = await wires(house)
    await wire.send(post(body()))
    await (await wires(house)).ask(post(b"", path="/other"))

    await stop(house)

    assert await wire.rest() == b""


async def test_a_connection_that_comes_after_the_stop_waits_for_the_next_process(
    house: House, wires: Dial
) -> None:
    await stop(house)
    wire = await wires(house)
    await wire.send(post(body()))
    assert await house.stored() == []

    await house.restart()

    assert (await wire.answer()).status == 200


async def test_connections_beyond_the_limit_wait_for_the_next_process(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(Plan(most_connections=1))
    inside, outside = await wires(house), await wires(house)
    house.gate.is_open.clear()
    await inside.send(post(body()))
    await house.gate.knocked.wait()
    await outside.send(post(body()))
    await house.until(lambda: house.logged("connections_full"))

    stopping = asyncio.create_task(stop(house))
    await asyncio.wait({stopping}, timeout=0.05)
    house.gate.is_open.set()
    assert (await inside.answer()).status == 200
    await stopping
    await house.restart()

    assert (await outside.answer()).status == 200


async def test_a_stop_before_the_start_does_nothing(house: House) -> None:
    listener = house.new_inbound().listener
    listener.stop()
    await listener.run()
