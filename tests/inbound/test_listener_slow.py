"""Clients that are slow, silent or gone are cut off, and nobody else waits for them."""

import asyncio
import socket
import struct

import pytest

from tests.inbound.conftest import PATIENCE, BuildHouse, Dial, House, Plan, Wire, body, post

BRIEF = Plan(request_timeout=0.2)
"""The limit under test is reached by waiting for the listener to hang up, not for a time."""

LARGE = 30_000_000
"""More bytes than the kernel takes in when nobody reads."""

LENGTH = f"Content-Length: {LARGE}"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /callb",
        post(body())[: -len(body()) - 2],
        post(body())[:-1],
        post(b"5\r\nab", "Transfer-Encoding: chunked"),
        post(body()) + post(body())[:-1],
    ],
    ids=["nothing", "half a line", "half headers", "half a body", "half a chunk", "one and a half"],
)
async def test_a_request_that_does_not_end_is_cut_at_the_limit(
    build: BuildHouse, wires: Dial, sent: bytes
) -> None:
    house = await build(BRIEF)
    slow, other = await wires(house), await wires(house)

    await slow.send(sent)
    assert (await other.ask(post(body(processId="other")))).status == 200

    await slow.rest()
    await house.until(lambda: house.logged("connection_timeout"))
    whole = 1 if b"POST" in sent[10:] else 0
    assert len(await house.stored()) == 1 + whole


async def test_bytes_that_trickle_in_do_not_extend_the_limit(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(BRIEF)
    slow = await wires(house)

    async def trickle() -> None:
        while True:
            await slow.send(b"x")
            await asyncio.sleep(0.01)

    await slow.send(post(body(), "Content-Length: 60000")[: -len(body())])
    trickling = asyncio.create_task(trickle())
    try:
        await slow.rest()
    finally:
        trickling.cancel()
        await asyncio.wait({trickling})
    assert await house.stored() == []


async def test_a_request_that_is_answered_does_not_cut_the_next_ones(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(Plan(request_timeout=0.3))
    wire = await wires(house)

    assert (await wire.ask(post(body()))).status == 200
    house.gate.is_open.clear()
    await wire.send(post(body()))
    await house.gate.knocked.wait()
    silent = await wires(house)
    await silent.rest()  # so the limit of both is over
    house.gate.is_open.set()

    assert (await wire.answer()).status == 200


async def test_our_own_slowness_does_not_count(build: BuildHouse, wires: Dial) -> None:
    house = await build(BRIEF)
    wire, silent = await wires(house), await wires(house)

    house.gate.is_open.clear()
    await wire.send(post(body()))
    await house.gate.knocked.wait()
    await silent.rest()
    house.gate.is_open.set()

    assert (await wire.answer()).status == 200


@pytest.mark.usefixtures("wires")
@pytest.mark.parametrize(
    ("head", "status"),
    [
        (post(b"", "Authorization: right", LENGTH), 413),
        (post(b"", "Authorization: wrong", LENGTH), 401),
        (post(b"", LENGTH, path="/elsewhere"), 404),
        (b"GET /", 431),
        (b"BREW /", 400),
    ],
    ids=["413", "401", "404", "431", "400"],
)
async def test_a_client_that_is_still_sending_reads_why_it_is_refused(
    build: BuildHouse, head: bytes, status: int
) -> None:
    house = await build(Plan(authorization=(b"right",)))

    def insist() -> bytes:
        """Send all of it before the first look at the answer."""
        with socket.create_connection(house.listening.getsockname(), 30) as sender:
            sender.sendall(head + b"x" * LARGE)
            return sender.makefile("rb").read()

    answer = await asyncio.to_thread(insist)

    assert answer.split(b" ")[1] == str(status).encode()
    assert b'{"error":"' in answer
    assert house.events() == ["callback_rejected"]


async def test_a_client_that_never_reads_its_answers_is_cut(build: BuildHouse, wires: Dial) -> None:
    house = await build(BRIEF)
    host, port = house.listening.getsockname()
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect((host, port))
    deaf.setblocking(False)
    loop = asyncio.get_running_loop()

    async def flood() -> None:
        while True:
            await loop.sock_sendall(deaf, post(b"not JSON") * 100)

    with deaf:
        async with asyncio.timeout(30):
            with pytest.raises(ConnectionError):
                await flood()
    assert house.logged("connection_timeout")
    assert (await (await wires(house)).ask(post(body()))).status == 200


@pytest.mark.parametrize("is_reset", [True, False], ids=["reset", "closed"])
async def test_a_client_that_hangs_up_after_its_last_byte_still_gets_its_callback_kept(
    house: House, wires: Dial, is_reset: bool
) -> None:
    """The last byte and the end arrive in one turn of the listener's loop."""
    whole = post(body())
    splits = (0, 1, len(whole) - len(body()), len(whole) - 1)
    for kept, split in enumerate(splits, start=1):
        with socket.create_connection(house.listening.getsockname()) as hasty:
            if is_reset:
                hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if split:
                hasty.sendall(whole[:split])
                await (await wires(house)).ask(post(b"", path="/other"))  # it has been read
            hasty.sendall(whole[split:])
        async with asyncio.timeout(PATIENCE):
            while len(house.logged("callback_received")) < kept:
                await asyncio.sleep(0.002)
    assert len(await house.stored()) == len(splits)
    assert not house.logged("request_failed")


async def test_a_client_that_hangs_up_while_its_callback_is_stored_gets_it_kept(
    house: House, wires: Dial
) -> None:
    wire = await wires(house)
    house.gate.is_open.clear()
    await wire.send(post(body()))
    await house.gate.knocked.wait()

    wire.reset()
    await (await wires(house)).ask(post(b"", path="/other"))
    house.gate.is_open.set()

    await house.until(lambda: house.logged("callback_received"))
    assert await house.stored_ids() == ["p-1"]
    assert not house.logged("request_failed")


@pytest.mark.parametrize("is_reset", [True, False], ids=["reset", "closed"])
async def test_a_client_that_hangs_up_midway_breaks_nothing(
    house: House, wires: Dial, is_reset: bool
) -> None:
    whole = post(body())
    for split in (0, 1, 30, len(whole) - len(body()), len(whole) - 1):
        with socket.create_connection(house.listening.getsockname()) as hasty:
            if is_reset:
                hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            hasty.sendall(whole[:split])

    assert (await (await wires(house)).ask(whole)).status == 200
    await house.until(lambda: house.listener.rejected["incomplete"] == 2)
    assert len(await house.stored()) == 1
    assert not house.logged("request_failed")


async def test_a_connection_that_can_bring_nothing_more_is_closed_at_once(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(Plan(request_timeout=3600.0))
    for sent in (b"POST /callb", post(body())[:-1]):
        wire = await wires(house)
        await wire.send(sent)
        wire.end_writing()
        await wire.rest()


async def test_a_client_that_ends_its_side_after_the_request_still_gets_the_answer(
    house: House, wire: Wire
) -> None:
    house.gate.is_open.clear()
    await wire.send(post(body()))
    await house.gate.knocked.wait()
    wire.end_writing()
    await asyncio.sleep(0)
    house.gate.is_open.set()

    assert (await wire.answer()).status == 200
    assert await wire.rest() == b""
