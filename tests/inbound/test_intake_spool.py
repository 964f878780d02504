"""The spool takes over while the store cannot, and gives everything back once and in order."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reconciler.inbound.group_commit import MOST_AT_ONCE, NotDurableError
from reconciler.inbound.spool import Spool
from reconciler.store.errors import StoreUnavailableError
from reconciler.store.inbox import Receipt
from tests.inbound.conftest import BuildHouse, Dial, House, Plan, Wire, body, post

Make = Callable[..., Receipt]

LOCKED = StoreUnavailableError("database is locked")
HASTY = Plan(store_timeout=0.1)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process holds the writer's lock, as a stuck backup would."""
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


def break_spool(house: House) -> None:
    """Even for root: a file stands where the directory should be."""
    house.spool_path.write_text("not a directory")


async def test_a_store_that_fails_is_replaced_by_the_spool_until_it_recovers(
    house: House, wires: Dial
) -> None:
    wire = await wires(house)
    house.gate.failure = LOCKED
    for number in range(3):
        assert (await wire.ask(post(body(processId=f"p-{number}")))).status == 200

    assert house.spooled_ids() == ["p-0", "p-1", "p-2"]
    assert (house.intake.trouble, house.intake.spooled) == (str(LOCKED), 3)
    assert await house.stored() == []

    house.gate.failure = None
    await house.until(lambda: house.logged("store_recovered"))
    assert (await wire.ask(post(body(processId="p-3")))).status == 200
    assert await house.stored_ids() == ["p-0", "p-1", "p-2", "p-3"]
    assert list(house.spool_path.iterdir()) == []
    await house.until(lambda: house.intake.spooled == 0)
    assert house.logged("store_unavailable") == [{"reason": "database is locked"}]
    assert house.logged("spool_drained") == [{"count": 3}]
    assert [line["process_id"] for line in house.logged("callback_spooled")] == [
        "p-0",
        "p-1",
        "p-2",
    ]
    assert len(house.logged("callback_received")) == 4


async def test_when_the_spool_is_said_to_be_drained_nothing_counts_as_waiting_in_it(
    house: House, wires: Dial
) -> None:
    waiting: list[int] = []

    class Entries(list[Any]):
        def append(self, line: Any) -> None:
            if line["event"] == "spool_drained":
                waiting.append(house.intake.spooled)
            super().append(line)

    house.lines.entries = Entries(house.lines.entries)
    wire = await wires(house)
    house.gate.failure = LOCKED
    assert (await wire.ask(post(body()))).status == 200
    assert house.intake.spooled == 1
    house.gate.failure = None
    await house.until(lambda: house.logged("spool_drained"))
    assert waiting == [0]


@pytest.mark.fault("the store", "hangs", "store_unavailable")
async def test_a_store_that_hangs_is_given_up_in_time(build: BuildHouse, wires: Dial) -> None:
    house = await build(HASTY)
    wire = await wires(house)
    house.gate.is_open.clear()

    assert (await wire.ask(post(body(processId="p-1")))).status == 200
    assert (await wire.ask(post(body(processId="p-2")))).status == 200

    assert house.gate.groups == [1], "nobody asks a store that hangs already"
    assert house.spooled_ids() == ["p-1", "p-2"]
    assert house.logged("store_unavailable") == [{"reason": "slow"}]


async def test_a_late_commit_of_what_was_spooled_changes_nothing(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(HASTY)
    house.gate.is_open.clear()
    assert (await (await wires(house)).ask(post(body()))).status == 200

    house.gate.is_open.set()
    await house.until(lambda: house.logged("store_recovered"))

    assert await house.stored_ids() == ["p-1"]
    assert house.gate.groups[:2] == [1, 1], "once late, once from the spool"
    assert len(house.logged("callback_received")) == 1
    await house.until(
        lambda: house.logged("callback_applied") or house.logged("process_registered")
    )


async def test_a_database_locked_by_another_process_loses_nothing(
    build: BuildHouse, wires: Dial, tmp_path: Path
) -> None:
    house = await build(HASTY)
    wire = await wires(house)
    with locked(tmp_path / "reconciler.db"):
        for number in range(5):
            assert (await wire.ask(post(body(processId=f"p-{number}")))).status == 200
        assert len(house.spooled_ids()) == 5

    await house.until(lambda: house.logged("store_recovered"))
    assert await house.stored_ids() == [f"p-{number}" for number in range(5)]


async def test_a_full_disk_that_takes_a_small_write_has_not_recovered(
    build: BuildHouse, wires: Dial
) -> None:
    house = await build(HASTY)
    wire = await wires(house)
    house.gate.failure = StoreUnavailableError("database or disk is full")
    assert (await wire.ask(post(body()))).status == 200
    house.gate.has_room, house.gate.failure = False, None

    await house.until(lambda: house.gate.asked_for_room >= 3)
    assert house.logged("store_recovered") == []
    assert len(house.spooled_ids()) == 1

    house.gate.has_room = True
    await house.until(lambda: house.logged("store_recovered"))
    assert len(await house.stored_ids()) == 1


@pytest.mark.fault("the spool", "cannot be written, nor the store", "callback_not_durable")
async def test_without_store_and_spool_the_answer_is_503(house: House, wire: Wire) -> None:
    house.gate.failure = LOCKED
    break_spool(house)

    answer = await wire.ask(post(body()))

    assert (answer.status, answer.error) == (503, "not_durable")
    assert int(answer.headers["retry-after"]) > 0
    assert house.logged("callback_not_durable") == [{"count": 1, "error": "EEXIST"}]
    house.gate.failure = None
    house.spool_path.unlink()
    await house.until(lambda: house.intake.trouble is None)
    assert (await wire.ask(post(body()))).status == 200


@pytest.mark.fault("the spool", "hangs, and the store too", "callback_not_durable")
async def test_a_spool_that_hangs_is_given_up_in_time_and_blocks_nobody(
    build: BuildHouse, wires: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await build(Plan(spool_timeout=0.1, store_timeout=0.1))
    released = threading.Event()
    put_many = house.inbound.spool.put_many

    def hang(receipts: Sequence[Receipt]) -> None:
        released.wait(30)
        put_many(receipts)

    monkeypatch.setattr(house.inbound.spool, "put_many", hang)
    house.gate.failure = LOCKED
    wire = await wires(house)
    try:
        assert (await wire.ask(post(body(processId="late")))).status == 503
        assert (await wire.ask(post(body(processId="none")))).status == 503
    finally:
        released.set()
    house.gate.failure = None

    await house.until(lambda: house.logged("spool_drained"))
    assert await house.stored_ids() == ["late"], "kept, though nobody was promised anything"
    assert (await wire.ask(post(body()))).status == 200


async def test_a_callback_is_not_lost_that_is_spooled_while_the_spool_is_drained(
    build: BuildHouse, receipt: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drain must not remove a file that somebody is still writing to."""
    house = await build(Plan(parts=("intake",)))
    house.gate.failure = LOCKED
    await house.intake.put(receipt("first"))
    writing, may_write = threading.Event(), threading.Event()
    write = os.write

    def slowly(fd: int, data: bytes) -> int:
        writing.set()
        may_write.wait(30)
        return write(fd, data)

    monkeypatch.setattr("reconciler.inbound.spool.os.write", slowly)
    second = house.intake.put(receipt("second"))
    await asyncio.to_thread(writing.wait, 30)
    house.gate.failure = None
    draining = asyncio.create_task(house.inbound.drain.drain_once())
    await asyncio.wait({draining}, timeout=0.1)
    may_write.set()
    await second
    assert await draining

    assert await house.stored_ids() == ["first", "second"]
    assert house.intake.trouble is None


async def test_nothing_new_overtakes_what_is_in_the_spool(
    build: BuildHouse, receipt: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await build(Plan(parts=("intake",)))
    old = [f"old-{n}" for n in range(MOST_AT_ONCE + 1)]
    house.gate.failure = LOCKED
    await asyncio.gather(*(house.intake.put(receipt(name)) for name in old))
    house.gate.failure = None
    put_many = house.gate.put_many

    async def shut_first(receipts: Sequence[Receipt]) -> None:
        monkeypatch.undo()
        house.gate.is_open.clear()
        await put_many(receipts)

    monkeypatch.setattr(house.gate, "put_many", shut_first)
    draining = asyncio.create_task(house.inbound.drain.drain_once())
    await house.gate.knocked.wait()
    await house.intake.put(receipt("new-1"))
    house.gate.is_open.set()
    assert await draining
    await house.intake.put(receipt("new-2"))

    received = [line["process_id"] for line in house.logged("callback_received")]
    assert received == [*old, "new-1", "new-2"]
    assert house.spooled_ids() == []
    assert house.intake.spooled == 0


async def test_a_store_that_hangs_while_the_spool_is_drained_is_given_up_too(
    build: BuildHouse, receipt: Make, tmp_path: Path
) -> None:
    house = await build(Plan(store_timeout=0.1, parts=("intake",)))
    earlier = Spool(tmp_path / "spool", "earlier")
    earlier.put_many([receipt("p-1")])
    earlier.close()
    house.gate.is_open.clear()

    assert not await house.inbound.drain.drain_once()
    assert house.intake.trouble is not None
    assert house.logged("store_unavailable") == [{"reason": "slow"}]

    await house.intake.put(receipt("p-2"))
    assert house.spooled_ids() == ["p-1", "p-2"]
    house.gate.is_open.set()


async def test_a_drain_that_fails_midway_is_made_good_by_the_next(
    build: BuildHouse, receipt: Make
) -> None:
    house = await build(Plan(parts=("intake",)))
    house.gate.failure = LOCKED
    names = [f"p-{n}" for n in range(MOST_AT_ONCE + 1)]
    await asyncio.gather(*(house.intake.put(receipt(name)) for name in names))
    house.gate.failure = None
    put_many, calls = house.gate.put_many, iter([False, True])

    async def fail_second(receipts: Sequence[Receipt]) -> None:
        if next(calls, False):
            raise LOCKED
        await put_many(receipts)

    house.gate.put_many = fail_second  # type: ignore[method-assign]
    assert not await house.inbound.drain.drain_once()
    assert len(await house.stored()) == MOST_AT_ONCE
    assert len(house.spooled_ids()) == MOST_AT_ONCE + 1
    assert house.intake.trouble is not None

    assert await house.inbound.drain.drain_once()
    assert await house.stored_ids() == names
    assert house.spooled_ids() == []


async def test_a_hanging_store_does_not_hold_up_the_stop(build: BuildHouse, receipt: Make) -> None:
    house = await build(HASTY)
    house.gate.is_open.clear()
    await house.intake.put(receipt("p-1"))

    async with asyncio.timeout(30):
        house.intake.stop()
        house.inbound.drain.stop()
        await house.tasks.pop("intake")
        await house.tasks.pop("drain")
    assert house.spooled_ids() == ["p-1"]


async def test_what_an_earlier_daemon_has_spooled_is_drained(
    build: BuildHouse, receipt: Make, tmp_path: Path
) -> None:
    earlier = Spool(tmp_path / "spool", "earlier")
    earlier.put_many([receipt("p-1"), receipt("p-2")])
    house = await build(Plan())
    await asyncio.wait({asyncio.ensure_future(house.intake.put(receipt("p-3")))})
    assert house.spooled_ids() == ["p-1", "p-2"], "its owner lives"

    earlier.close()

    await house.until(lambda: house.logged("spool_drained"))
    assert await house.stored_ids() == ["p-1", "p-2", "p-3"]


async def test_a_spool_that_cannot_be_read_is_told_once_and_stops_nothing(
    house: House, receipt: Make
) -> None:
    break_spool(house)
    await house.until(lambda: house.logged("spool_failed"))
    await house.intake.put(receipt("p-1"))
    assert not house.tasks["drain"].done()

    house.spool_path.unlink()
    house.gate.failure = LOCKED
    await house.intake.put(receipt("p-2"))
    house.gate.failure = None
    await house.until(lambda: house.logged("spool_drained"))

    assert house.logged("spool_failed") == [{"error": "ENOTDIR"}]
    assert await house.stored_ids() == ["p-1", "p-2"]


async def test_a_future_that_nobody_waits_for_does_no_harm(house: House, receipt: Make) -> None:
    house.gate.failure = LOCKED
    break_spool(house)
    given_up = house.intake.put(receipt("p-1"))
    given_up.cancel()

    with pytest.raises(NotDurableError):
        await house.intake.put(receipt("p-2"))
