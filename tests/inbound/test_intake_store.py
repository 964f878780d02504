"""Callbacks that wait become durable in one transaction, and 200 comes only after it."""

import asyncio
from collections.abc import Callable, Sequence

import orjson
import pytest
from sqlalchemy import text

from reconciler.inbound.group_commit import MOST_AT_ONCE, NotDurableError
from reconciler.store.errors import StoreError
from reconciler.store.inbox import Receipt
from tests.inbound.conftest import BuildHouse, Dial, House, Plan, Wire, body, post

Make = Callable[..., Receipt]

POISON = """
CREATE TRIGGER poison BEFORE INSERT ON callbacks WHEN NEW.process_id LIKE 'poison%'
BEGIN SELECT RAISE(ABORT, 'poisonous'); END
"""


async def poison(house: House) -> None:
    async with house.store.database.write() as connection:
        await connection.execute(text(POISON))


async def test_no_answer_leaves_before_the_commit(house: House, wire: Wire) -> None:
    house.gate.is_open.clear()
    await wire.send(post(body()))
    await house.gate.knocked.wait()
    answer = asyncio.create_task(wire.answer())
    await asyncio.wait({answer}, timeout=0.05)

    assert not answer.done()
    assert house.listener.received == 0
    assert not house.logged("callback_received")
    house.gate.is_open.set()
    assert (await answer).status == 200
    assert house.listener.received == 1


async def test_callbacks_that_arrive_during_a_flush_share_the_next_one(
    house: House, wires: Dial
) -> None:
    house.gate.is_open.clear()
    dialed = [await wires(house) for _ in range(41)]
    await dialed[0].send(post(body(processId="p-0")))
    await house.gate.knocked.wait()
    for number, wire in enumerate(dialed[1:], start=1):
        await wire.send(post(body(processId=f"p-{number}")))
    await (await wires(house)).ask(post(b"", path="/other"))  # all of them have been read
    house.gate.is_open.set()

    assert [(await wire.answer()).status for wire in dialed] == [200] * 41
    assert house.gate.groups == [1, 40]
    assert [line["count"] for line in house.logged("callbacks_committed")] == [1, 40]
    assert len(house.logged("callback_acknowledged")) == 41
    assert sorted(await house.stored_ids()) == sorted(f"p-{number}" for number in range(41))


async def test_a_flood_is_stored_in_groups_of_a_bounded_size(house: House, receipt: Make) -> None:
    receipts = [receipt(f"p-{number}") for number in range(2 * MOST_AT_ONCE + 1)]

    await asyncio.gather(*map(house.intake.put, receipts))

    assert house.gate.groups == [MOST_AT_ONCE, MOST_AT_ONCE, 1]
    assert await house.stored_ids() == [f"p-{number}" for number in range(len(receipts))]


@pytest.mark.fault("the store", "refuses one callback for its content", "callback_poisoned")
async def test_one_poison_row_fails_alone_and_is_set_aside(house: House, receipt: Make) -> None:
    await poison(house)
    names = ["p-1", "poison-1", "p-2", "poison-2", "p-3"]

    await asyncio.gather(*(house.intake.put(receipt(name)) for name in names))

    assert await house.stored_ids() == ["p-1", "p-2", "p-3"]
    lines = (house.spool_path / "poison.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line[9:])[2] for line in lines] == ["poison-1", "poison-2"]
    assert len(house.logged("callback_poisoned")) == 2
    assert {line["process_id"] for line in house.logged("callback_received")} == {
        "p-1",
        "p-2",
        "p-3",
    }
    assert house.intake.trouble is None


async def test_a_poison_row_that_cannot_be_set_aside_is_the_only_one_refused(
    house: House, receipt: Make
) -> None:
    await poison(house)
    house.spool_path.write_text("not a directory")

    durable = [house.intake.put(receipt(name)) for name in ("p-1", "poison-1", "p-2")]
    await asyncio.wait(durable)

    assert [type(future.exception()) for future in durable] == [
        type(None),
        NotDurableError,
        type(None),
    ]
    assert await house.stored_ids() == ["p-1", "p-2"]


@pytest.mark.parametrize(
    "failure", [StoreError("database disk image is malformed"), ValueError("no active connection")]
)
async def test_a_store_that_refuses_everything_is_no_reason_to_set_callbacks_aside(
    house: House, receipt: Make, failure: Exception
) -> None:
    house.gate.failure = failure

    await asyncio.gather(*(house.intake.put(receipt(name)) for name in ("p-1", "p-2")))

    assert house.spooled_ids() == ["p-1", "p-2"]
    assert not house.logged("callback_poisoned")
    house.gate.failure = None
    await house.until(lambda: house.logged("store_recovered"))
    assert await house.stored_ids() == ["p-1", "p-2"]


async def test_the_lines_of_a_batch_are_logged_after_its_commit(
    build: BuildHouse, receipt: Make
) -> None:
    house = await build(Plan(parts=("intake",)))
    seen: list[list[str]] = []
    commit = house.store.inbox.put_many

    async def spy(receipts: Sequence[Receipt]) -> None:
        await commit(receipts)
        seen.append([*house.events()])

    house.gate.put_many = spy  # type: ignore[method-assign]
    await asyncio.gather(*(house.intake.put(receipt(f"p-{n}")) for n in range(3)))

    assert seen == [[]]
    assert house.events() == ["callbacks_committed", *["callback_received"] * 3]


async def test_a_stop_flushes_what_waits(build: BuildHouse, receipt: Make) -> None:
    house = await build(Plan(parts=()))
    durable = [house.intake.put(receipt(f"p-{n}")) for n in range(3)]
    house.intake.stop()

    await house.intake.run()

    assert all(future.done() for future in durable)
    assert len(await house.stored()) == 3
