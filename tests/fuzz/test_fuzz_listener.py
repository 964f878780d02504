"""Bytes on a connection of the public listener: HTTP as it should be, and as it should not be."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st

from tests.fuzz.http_messages import STREAMS, Sent, good_requests
from tests.fuzz.texts import SIZES, damaged, in_pieces, variants
from tests.fuzz.wire import BAD_EVENTS, JumpingLoop, Line, answers_in, open_line
from tests.inbound.conftest import Plan, open_house

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.store.inbox import Receipt
    from tests.fuzz.conftest import Fuzz
    from tests.fuzz.loop import LoopInThread
    from tests.inbound.conftest import House


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        yield runner


@pytest.fixture(scope="module")
def line(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    manager = open_line(tmp_path_factory.mktemp("spool"))
    yield runner.run(manager.__aenter__())
    runner.run(manager.__aexit__(None, None, None))


def members(receipt: Receipt) -> tuple[str, str, str]:
    return receipt.process_id, receipt.dossier_id, receipt.status


@pytest.mark.share(10, each=8)
def test_whatever_arrives_is_answered_as_documented_and_200_means_kept(
    fuzz: Fuzz, runner: asyncio.Runner, line: Line
) -> None:
    def check(streams: list[bytes], sizes: list[int], hangs_up: bool) -> int:
        for data in streams:
            sending = line.send(in_pieces(data, sizes), hangs_up=hangs_up)
            answers, kept = runner.run(sending)
            assert sum(answer.status == 200 for answer in answers) == len(kept)
        return len(streams)

    fuzz(check, streams=variants(STREAMS), sizes=SIZES, hangs_up=st.booleans())


@pytest.mark.share(5, each=2)
def test_a_callback_is_kept_however_it_is_framed_and_cut(
    fuzz: Fuzz, runner: asyncio.Runner, line: Line
) -> None:
    def check(first: Sent, others: list[Sent], sizes: list[int], hangs_up: bool) -> int:
        sent = [first, *others]
        data = b"".join(each.data for each in sent)
        answers, kept = runner.run(line.send(in_pieces(data, sizes), hangs_up=hangs_up))
        assert [answer.status for answer in answers] == [200] * len(sent)
        assert [*map(members, kept)] == [each.members for each in sent]
        return len(sent)

    fuzz(
        check,
        first=good_requests(),
        others=st.lists(good_requests(is_first=False), max_size=3),
        sizes=SIZES,
        hangs_up=st.booleans(),
    )


@pytest.fixture(scope="module")
def house(loop: LoopInThread, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> House:
    """All parts that take callbacks, on a real socket with a real store."""
    return loop.enter(open_house(Plan(), empty_store, tmp_path_factory.mktemp("house")))


@pytest.mark.share(1)
def test_on_a_real_socket_too_and_what_is_acknowledged_is_in_the_store(
    fuzz: Fuzz, loop: LoopInThread, house: House
) -> None:
    def check(data: bytes, good: Sent, sizes: list[int]) -> None:
        before = loop.run(stored(house))
        answers = answers_in(ask(house, in_pieces(data, sizes)))
        acknowledged = sum(answer.status == 200 for answer in answers)
        between = loop.run(stored(house))
        assert between >= before + acknowledged
        (answer,) = answers_in(ask(house, [good.data]))  # it serves the next one
        assert answer.status == 200
        assert loop.run(stored(house)) == between + 1
        assert not BAD_EVENTS & {*house.events()}
        assert loop.failures == []
        house.lines.entries.clear()

    fuzz(check, data=damaged(STREAMS), good=good_requests(), sizes=SIZES)


async def stored(house: House) -> int:
    async with house.store.database.read() as connection:
        found = await connection.exec_driver_sql("SELECT count(*) FROM callbacks")
        return int(found.scalar_one())


def ask(house: House, pieces: list[bytes]) -> bytes:
    """Send ``pieces`` on a connection of their own, and return all that is answered."""
    received = b""
    with socket.create_connection(house.listening.getsockname()[:2], timeout=60) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):
            for piece in pieces:
                wire.sendall(piece)
            wire.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while data := wire.recv(65536):
                received += data
    return received
