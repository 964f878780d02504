"""The second step: what was stored reaches the ledger, now, at the next sweep or the next start."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from reconciler.inbound.applier import LEFT_BEHIND, MOST_AT_ONCE, Applier
from reconciler.ledger import Rules
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.inbox import Inbox, Receipt
from tests.inbound.conftest import NOW, BuildHouse, House, Plan

Make = Callable[..., Receipt]


@pytest.fixture
async def silent(build: BuildHouse) -> House:
    """A house in which nothing is applied but what the test applies."""
    return await build(Plan(parts=()))


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


async def test_what_an_earlier_run_has_not_applied_is_found_at_start(
    silent: House, receipt: Make
) -> None:
    fresh = [receipt(f"p-{n}", received_at=NOW - n) for n in range(2 * MOST_AT_ONCE + 1)]
    await silent.store.inbox.put_many(fresh)

    found = [await silent.applier.recover(everything=True) for _ in range(2)]

    assert found == [2 * MOST_AT_ONCE + 1, 0]
    assert await unapplied(silent) == []


async def test_a_long_recovery_tells_that_it_moves(silent: House, receipt: Make) -> None:
    """Else whoever watches would take a daemon that has much to catch up on for a dead one."""
    left = [receipt(f"p-{n}", received_at=NOW - n) for n in range(2 * MOST_AT_ONCE + 1)]
    await silent.store.inbox.put_many(left)
    moves: list[int] = []
    applier = Applier(
        silent.store.inbox,
        rules=Rules,
        now=lambda: NOW,
        on_applied=lambda: None,
        log=silent.log,
        on_progress=lambda: moves.append(1),
    )

    await applier.recover(everything=True)

    assert len(moves) == 3


async def test_a_sweep_finds_only_what_has_been_left_behind(silent: House, receipt: Make) -> None:
    await silent.store.inbox.put_many(
        [
            receipt("left", received_at=NOW - LEFT_BEHIND),
            receipt("on-its-way", received_at=NOW - LEFT_BEHIND + 1),
        ]
    )

    assert [await silent.applier.recover() for _ in range(2)] == [1, 0]
    assert await unapplied(silent) == ["on-its-way"]


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
    silent.applier.submit(made)
    silent.applier.submit(made)
    assert await silent.applier.recover(everything=True) == 1
    lines = [event for event in silent.events() if event != "callback_received"]
    silent.applier.stop()
    await silent.applier.run()

    assert [event for event in silent.events() if event != "callback_received"] == lines


class Troubled:
    """The inbox, but callbacks of some processes cannot be applied."""

    def __init__(self, inbox: Inbox, failure: Exception | None) -> None:
        self._inbox = inbox
        self.failure = failure
        self.unapplied = inbox.unapplied

    async def apply(self, receipts: Sequence[Receipt], rules: Rules, now: int) -> Any:
        if self.failure and any(each.process_id.startswith("bad") for each in receipts):
            raise self.failure
        return await self._inbox.apply(receipts, rules, now)


def applier(house: House, inbox: Troubled) -> Applier:
    return Applier(
        inbox,  # type: ignore[arg-type]  # it is one, as far as an applier can see
        rules=Rules,
        now=lambda: NOW,
        on_applied=lambda: None,
        log=house.log,
    )


async def test_what_an_unavailable_store_did_not_apply_is_applied_later(
    silent: House, receipt: Make
) -> None:
    inbox = Troubled(silent.store.inbox, StoreUnavailableError("database is locked"))
    late = applier(silent, inbox)
    made = [receipt("bad-1"), receipt("p-1")]
    await silent.store.inbox.put_many(made)
    late.submit(made)
    late.stop()
    await late.run()
    assert await unapplied(silent) == ["bad-1", "p-1"]
    assert await late.recover(everything=True) == 0, "the caller need not ask again now"
    assert not silent.logged("callback_not_applied")

    inbox.failure = None
    assert await late.recover(everything=True) == 2
    assert await unapplied(silent) == []


@pytest.mark.parametrize("failure", [StoreError("IntegrityError"), RuntimeError("a bug")])
async def test_a_callback_that_cannot_be_applied_fails_alone_and_ends_no_loop(
    silent: House, receipt: Make, failure: Exception
) -> None:
    late = applier(silent, Troubled(silent.store.inbox, failure))
    made = [receipt(name) for name in ("p-1", "bad-1", "p-2")]
    await silent.store.inbox.put_many(made)
    late.submit(made)
    late.stop()

    await late.run()

    assert await unapplied(silent) == ["bad-1"]
    assert await late.recover(everything=True) == 0
    lines = silent.logged("callback_not_applied")
    assert [line["process_id"] for line in lines] == ["bad-1", "bad-1"]
    assert "a bug" not in str(lines)
