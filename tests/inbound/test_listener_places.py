"""The number of open connections is limited, and further ones wait."""

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.inbound.conftest import PATIENCE, BuildHouse, Dial, House, Plan, body, post


async def test_connections_beyond_the_limit_wait_while_all_others_are_busy(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(Plan(most_connections=2))
    busy, third = [await wires(house) for _ in range(2)], await wires(house)
    house.gate.is_open.clear()
    for wire in busy:
        await wire.send(post(body()))
    await third.send(post(body(processId="p-3")))
    await house.until(lambda: house.logged("connections_full") and house.listener.is_full)
    assert house.logged("connections_full")[0]["open"] == 2

    house.gate.is_open.set()

    for wire in (*busy, third):
        assert (await wire.answer()).status == 200
    assert not house.listener.is_full
    assert sorted(await house.stored_ids()) == ["p-1", "p-1", "p-3"]


async def test_the_connection_that_has_been_idle_longest_gives_way(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(Plan(most_connections=2))
    first, second = [await wires(house) for _ in range(2)]
    for wire in (first, second, first):
        assert (await wire.ask(post(body()))).status == 200

    third = await wires(house)
    assert (await third.ask(post(body()))).status == 200

    assert await second.rest() == b""
    assert (await first.ask(post(body()))).status == 200
    assert not house.logged("connections_full")


REFUSED = {
    "401": post(body(), "Authorization: wrong"),
    "404": post(body(), path="/other"),
    "413": post(b"", "Content-Length: 9000000"),
    "nothing like HTTP": b"\0\r\n\r\n",
}


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
async def test_whoever_is_refused_keeps_no_place(
    build: BuildHouse, wires: Dial, request_: bytes
) -> None:
    """None of the refused hangs up by itself."""
    house = await build(Plan(most_connections=20, authorization=(b"right",)))
    refused = []
    for _ in range(100):
        refused.append(await wires(house))
        await refused[-1].send(request_)

    async with asyncio.timeout(PATIENCE):
        answer = await (await wires(house)).ask(post(body(), "Authorization: right"))

    assert answer.status == 200
    for wire in refused:
        assert (await wire.rest()).split(b" ")[1].startswith(b"4")


@pytest.fixture
def _many_descriptors() -> Iterator[None]:
    """Both ends of each connection are ours."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3_000:
        pytest.skip(f"no process may open 3,000 files here, but {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3_000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_many_descriptors")
async def test_a_thousand_who_stay_after_a_refusal_or_an_answer_shut_out_no_callback(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(Plan(authorization=(b"right",)))
    crowd = [await wires(house) for _ in range(1_000)]
    for number, wire in enumerate(crowd):
        await wire.send(post(body(), f"Authorization: {'right' if number % 2 else 'wrong'}"))
    assert {(await wire.answer()).status for wire in crowd} == {401, 200}

    async with asyncio.timeout(PATIENCE):
        answer = await (await wires(house)).ask(post(body(processId="p-2"), "Authorization: right"))

    assert answer.status == 200
    assert "p-2" in await house.stored_ids()
    assert not house.listener.is_full


async def test_a_crowd_is_served_through_few_places(build: BuildHouse, wires: Dial) -> None:
    house = await build(Plan(most_connections=3))

    async def visit(number: int) -> int:
        wire = await wires(house)
        answer = await wire.ask(post(body(processId=f"p-{number}"), "Connection: close"))
        await wire.close()
        return answer.status

    async with asyncio.timeout(30):
        assert await asyncio.gather(*map(visit, range(60))) == [200] * 60
    assert len(set(await house.stored_ids())) == 60


async def test_a_full_house_says_so_without_flooding_the_log(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(Plan(most_connections=1))
    waiting = [await wires(house) for _ in range(101)]
    house.gate.is_open.clear()
    await waiting[0].send(post(body()))
    await house.until(lambda: house.logged("connections_full"))
    house.gate.is_open.set()
    for wire in waiting:
        await wire.ask(post(body(), path="/other")) if wire != waiting[0] else await wire.answer()
        await wire.close()

    assert 1 <= len(house.logged("connections_full")) < 100


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    held: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, hard))
    try:
        with suppress(OSError):
            while True:
                held.append(os.dup(0))
        yield
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_without_file_descriptors_connections_wait_until_there_are_some(
    house: House, wires: Dial
) -> None:
    wire = await wires(house)
    assert (await wire.ask(post(body()))).status == 200
    loop = asyncio.get_running_loop()
    with socket.socket() as late:
        late.setblocking(False)
        with no_descriptors_left():
            await loop.sock_connect(late, house.listening.getsockname())
            await loop.sock_sendall(late, post(body(processId="late")))
            await house.until(lambda: house.logged("connections_full"))
            assert (await wire.ask(post(body()))).status == 200, "those inside are still served"
        async with asyncio.timeout(PATIENCE):
            assert (await loop.sock_recv(late, 4096)).startswith(b"HTTP/1.1 200 ")
    assert house.logged("connections_full")[0]["error"] == os.strerror(errno.EMFILE)
    assert "late" in await house.stored_ids()


async def test_places_are_given_back_by_whatever_way_a_connection_ends(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(Plan(most_connections=2, request_timeout=0.2))
    for _ in range(3):
        silent, rude = await wires(house), await wires(house)
        await rude.send(b"\x00")
        await silent.rest()
        await rude.rest()
        await rude.close()
        half, gone = await wires(house), await wires(house)
        await half.send(post(body())[:-1])
        half.end_writing()
        gone.reset()
        await half.rest()

    last = await wires(house), await wires(house)
    for wire in last:
        assert (await wire.ask(post(body()))).status == 200
