"""An idle connection is kept for as long as is announced, and no request is cut for it."""

import asyncio
import socket

import pytest

from tests.inbound.conftest import PATIENCE, BuildHouse, Dial, Plan, body, post


async def test_the_idle_time_out_is_announced_and_kept(build: BuildHouse, wires: Dial) -> None:
    house = await build(Plan(keepalive="1s"))
    wire = await wires(house)
    for _ in range(2):
        answer = await wire.ask(post(body()))
        assert (answer.status, answer.headers["keep-alive"]) == (200, "timeout=1")
    began = asyncio.get_running_loop().time()

    assert await wire.rest() == b""

    assert asyncio.get_running_loop().time() - began > 0.9


async def test_the_default_is_longer_than_the_idle_time_out_of_most_balancers(
    build: BuildHouse, wires: Dial
) -> None:
    wire = await wires(await build(Plan()))

    assert (await wire.ask(post(body()))).headers["keep-alive"] == "timeout=75"


@pytest.mark.parametrize("header", ["Connection: close", "X: y"])
async def test_a_connection_that_is_closed_announces_nothing(
    build: BuildHouse, wires: Dial, header: str
) -> None:
    wire = await wires(await build(Plan()))
    path = "/callbacks/assure" if header.startswith("Connection") else "/other"

    answer = await wire.ask(post(body(), header, path=path))

    assert "keep-alive" not in answer.headers
    assert answer.headers["connection"] == "close"
    assert await wire.rest() == b""


async def test_a_request_whose_first_bytes_have_arrived_is_not_cut_by_the_idle_time_out(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(Plan(keepalive="1s", request_timeout=PATIENCE))
    wire, idle = await wires(house), await wires(house)
    for each in (wire, idle):
        assert (await each.ask(post(body()))).status == 200
    await wire.send(post(body())[:5])

    assert await idle.rest() == b""
    await wire.send(post(body())[5:])

    assert (await wire.answer()).status == 200


@pytest.mark.usefixtures("wires")
async def test_an_idle_connection_with_bytes_on_their_way_gives_no_way(build: BuildHouse) -> None:
    """The request and another connection arrive in one turn of the listener's loop."""
    house = await build(Plan(most_connections=1))
    loop, address = asyncio.get_running_loop(), house.listening.getsockname()
    with socket.socket() as kept, socket.socket() as other:
        for each in (kept, other):
            each.setblocking(False)
        await loop.sock_connect(kept, address)
        await loop.sock_sendall(kept, post(body()))
        assert (await loop.sock_recv(kept, 4096)).startswith(b"HTTP/1.1 200 ")

        kept.send(post(body(processId="p-2")))
        await loop.sock_connect(other, address)
        await loop.sock_sendall(other, post(body(processId="p-3")))

        for each in (kept, other):
            assert (await loop.sock_recv(each, 4096)).startswith(b"HTTP/1.1 200 ")
    assert sorted(await house.stored_ids()) == ["p-1", "p-2", "p-3"]
