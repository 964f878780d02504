"""Stored callbacks reach the ledger: at once, with the next sweep or after the next start."""

import asyncio
from collections.abc import Callable

import pytest

from reconciler.inbound.applier import LEFT_BEHIND, MOST_AT_ONCE
from reconciler.inbound.stored_receipts import BUSY, MOST_QUEUED
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.inbox import Receipt
from tests.clock import PlayedClock
from tests.inbound.conftest import NOW, BuildHouse, House, Plan

Make = Callable[..., Receipt]


@pytest.fixture
async def silent(build: BuildHouse) -> House:
    """A house in which nothing is applied but what the test applies, and time stands still."""
    return await build(Plan(parts=(), clock=PlayedClock(NOW)))


async def recover(house: House) -> int:
    """Recover everything, as at the start; return in how many pieces that was done."""
    pieces = 1
    while await house.applier.recover(everything=True):
        pieces += 1
    return pieces


async def apply_queued(house: House) -> None:
    house.applier.stop()
    await house.applier.run()


async def unapplied(house: House) -> list[str]:
    return [row.process_id for row in await house.stored() if row.outcome is None]


async def claims(house: House) -> dict[str, str]:
    async with house.store.database.read() as connection:
        rows = await connection.exec_driver_sql("SELECT process_id, claimed_status FROM processes")
        return {row.process_id: row.claimed_status for row in rows}


async def test_what_is_stored_is_applied(house: House, receipt: Make) -> None:
    await asyncio.gather(*(house.intake.put(receipt(f"p-{n}")) for n in range(250)))

    async with asyncio.timeout(30):
        while await unapplied(house):
            await asyncio.sleep(0.002)
    assert await claims(house) == {f"p-{n}": "accepted" for n in range(250)}


async def test_what_an_earlier_run_has_not_applied_is_found_at_start_piece_by_piece(
    silent: House, receipt: Make
) -> None:
    """Piece by piece, else a daemon that has much to catch up on would look like a dead one."""
    left = [receipt(f"p-{n}", received_at=NOW - n) for n in range(2 * MOST_AT_ONCE + 1)]
    await silent.store.inbox.put_many(left)

    assert await silent.applier.recover(everything=True)
    assert len(await unapplied(silent)) == MOST_AT_ONCE + 1
    assert await recover(silent) == 2
    assert await unapplied(silent) == []


async def test_a_sweep_finds_only_what_has_been_left_behind(silent: House, receipt: Make) -> None:
    await silent.store.inbox.put_many(
        [
            receipt("left", received_at=NOW - LEFT_BEHIND),
            receipt("on-its-way", received_at=NOW - LEFT_BEHIND + 1),
        ]
    )

    assert not await silent.applier.recover()
    assert await unapplied(silent) == ["on-its-way"]


@pytest.mark.parametrize("how", ["recovered", "queued"])
async def test_the_bells_are_rung_when_something_was_applied(
    silent: House, receipt: Make, how: str
) -> None:
    await silent.applier.recover(everything=True)
    assert not silent.due.is_rung
    made = [receipt("p-1")]
    await silent.store.inbox.put_many(made)

    if how == "recovered":
        await silent.applier.recover(everything=True)
    else:
        silent.inbound.stored.put(made)
        await apply_queued(silent)

    assert silent.due.is_rung
    assert silent.news.is_rung


async def test_what_does_not_fit_into_the_queue_is_found_in_the_inbox(
    silent: House, receipt: Make
) -> None:
    silent.inbound.stored.put([receipt("p-1")] * MOST_QUEUED)
    made = [receipt("p-2")]
    await silent.store.inbox.put_many(made)
    silent.inbound.stored.put(made)
    await apply_queued(silent)
    assert await unapplied(silent) == ["p-2"]

    await recover(silent)
    assert await unapplied(silent) == []


async def test_applying_waits_while_callbacks_are_coming_in_but_not_for_ever(
    build: BuildHouse, receipt: Make
) -> None:
    clock = PlayedClock()
    house = await build(Plan(parts=(), clock=clock))
    made, stored = [receipt("p-1")], house.inbound.stored
    await house.store.inbox.put_many(made)
    stored.put(made)
    stored.expect(clock.monotonic())
    house.start(["applier"])
    for _ in range(3):
        assert await unapplied(house) == ["p-1"]

    async with asyncio.timeout(30):
        while await unapplied(house):
            clock.move(BUSY / 2)
            stored.expect(clock.monotonic())
    assert stored.is_busy


async def test_callbacks_are_applied_in_the_order_of_their_arrival(
    silent: House, receipt: Make
) -> None:
    first, second = receipt("p-1", status="accepted"), receipt("p-1", status="rejected")
    await silent.store.inbox.put_many([second, first])

    await silent.applier.recover(everything=True)

    assert await claims(silent) == {"p-1": "rejected"}


async def test_the_same_callback_applied_twice_changes_nothing(
    silent: House, receipt: Make
) -> None:
    made = [receipt("p-1")]
    await silent.store.inbox.put_many(made)
    silent.inbound.stored.put(made)
    silent.inbound.stored.put(made)
    await recover(silent)
    assert await claims(silent) == {"p-1": "accepted"}
    lines = silent.events()

    await apply_queued(silent)

    assert silent.events() == lines


async def test_what_an_unavailable_store_did_not_apply_is_applied_later(
    silent: House, receipt: Make
) -> None:
    silent.gate.bad = StoreUnavailableError("database is locked")
    made = [receipt("bad-1"), receipt("p-1")]
    await silent.store.inbox.put_many(made)
    silent.inbound.stored.put(made)
    await apply_queued(silent)
    assert await unapplied(silent) == ["bad-1", "p-1"]
    assert await recover(silent) == 1, "the caller need not ask again now"
    assert await unapplied(silent) == ["bad-1", "p-1"]
    assert not silent.logged("callback_not_applied")

    silent.gate.bad = None
    await recover(silent)
    assert await unapplied(silent) == []


@pytest.mark.parametrize("failure", [StoreError("IntegrityError"), RuntimeError("a bug")])
async def test_a_callback_that_cannot_be_applied_fails_alone_and_ends_no_loop(
    silent: House, receipt: Make, failure: Exception
) -> None:
    silent.gate.bad = failure
    made = [receipt(name) for name in ("p-1", "bad-1", "p-2")]
    await silent.store.inbox.put_many(made)
    silent.inbound.stored.put(made)

    await apply_queued(silent)

    assert await unapplied(silent) == ["bad-1"]
    assert await recover(silent) == 1
    lines = silent.logged("callback_not_applied")
    assert [line["process_id"] for line in lines] == ["bad-1", "bad-1"]
    assert "a bug" not in str(lines)
