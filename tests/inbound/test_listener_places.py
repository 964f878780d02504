"""The number of open connections is limited, and further ones wait."""

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.inbound.conftest import PATIENCE, BuildHouse, Dial, House, Plan, body, post


async def test_connections_beyond_the_limit_wait_and_are_served_when_a_place_is_free(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(Plan(most_connections=2))
    first, second, third, fourth = [await wires(house) for _ in range(4)]
    for wire in (first, second):
        assert (await wire.ask(post(body()))).status == 200
    for number, wire in ((3, third), (4, fourth)):
        await wire.send(post(body(processId=f"p-{number}")))
    assert (await first.ask(post(body()))).status == 200
    assert house.logged("connections_full")[0]["open"] == 2
    assert len(await house.stored()) == 3

    for ends, waits in ((first, third), (second, fourth)):
        await ends.close()
        assert (await waits.answer()).status == 200
    assert set(await house.stored_ids()) == {"p-1", "p-3", "p-4"}


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
    for wire in waiting:
        await wire.ask(post(body(), path="/other"))
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
