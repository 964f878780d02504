"""Pages, timelines and counts of a ledger that changes."""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any, cast

import pytest

from reconciler.ledger import Recheck, Registration, Rules, State, TrackedProcess, Verb
from reconciler.store.database import Database
from reconciler.store.inbox import Receipt
from reconciler.store.open import Store
from reconciler.store.views import BadCursorError, Counts, Views
from tests.clock import NOW

MINUTE = 60_000
DELIVERY = (
    "INSERT INTO deliveries (webhook_id, process_id, type, payload, created_at, state,"
    " delivered_at, pending_since, attempts)"
    " VALUES (?, 'p1', 'process.settled', '{}', 1, ?, ?, 1, 0)"
)
Look = Callable[..., list[tuple[Any, ...]]]


async def register(store: Store, rules: Rules, *ids: str, at: int = NOW) -> None:
    batch = [Registration(process_id, f"dossier of {process_id}") for process_id in ids]
    await store.registry.register(batch, rules, at, whole=True)


async def pages(
    store: Store, limit: int, *, state: State | None = None
) -> list[list[TrackedProcess]]:
    found = []
    cursor = None
    while True:
        page, cursor = await store.views.page(state=state, limit=limit, cursor=cursor)
        found.append(page)
        if cursor is None:
            return found


def ids_of(processes: list[TrackedProcess]) -> list[str]:
    return [process.process_id for process in processes]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 100])
async def test_the_pages_hold_everything_once_the_newest_first(
    store: Store, rules: Rules, limit: int
) -> None:
    await register(store, rules, "a", "c", "b", at=NOW)  # three of one millisecond
    await register(store, rules, "e", at=NOW - 1)
    await register(store, rules, "d", "ä 空", at=NOW + 1)
    found = await pages(store, limit)
    assert [key for page in found for key in ids_of(page)] == ["ä 空", "d", "c", "b", "a", "e"]
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1]


async def test_ids_of_one_millisecond_stand_in_the_order_of_their_bytes(
    store: Store, rules: Rules
) -> None:
    """Otherwise the server's locale would make pages skip or repeat rows."""
    ids = ["a", "B", "c", "Z", "z", "ä", "_", "-", "10", "9", "é", "E", "空"]
    await register(store, rules, *ids)
    found = await pages(store, 2)
    assert [key for page in found for key in ids_of(page)] == sorted(ids, reverse=True)


async def test_an_empty_ledger_is_one_empty_page(store: Store) -> None:
    assert await store.views.page(state=None, limit=10, cursor=None) == ([], None)


async def test_what_is_added_between_two_pages_hides_and_repeats_nothing(
    store: Store, rules: Rules
) -> None:
    old = [f"p{number:02}" for number in range(20)]
    for number, process_id in enumerate(old):
        await register(store, rules, process_id, at=NOW + number // 3)
    seen = []
    cursor = None
    for number in range(100):
        page, cursor = await store.views.page(state=None, limit=3, cursor=cursor)
        seen += [process_id for process_id in ids_of(page) if process_id in old]
        if cursor is None:
            break
        await register(store, rules, f"newer-{number}", at=NOW + 1000 + number)
        await register(store, rules, f"older-{number}", at=NOW - 1000 - number)
    assert sorted(seen) == old


async def test_a_list_of_one_state_holds_that_state_only(
    store: Store, rules: Rules, receipt: Callable[..., Receipt]
) -> None:
    await register(store, rules, *(f"p{number}" for number in range(9)))
    callbacks = [
        receipt(f"p{number}", dossier_id=f"dossier of p{number}") for number in range(0, 9, 2)
    ]
    await store.inbox.put_many(callbacks)
    await store.inbox.apply(callbacks, rules, NOW)
    reported = [key for page in await pages(store, 2, state=State.REPORTED) for key in ids_of(page)]
    waiting = [key for page in await pages(store, 2, state=State.WAITING) for key in ids_of(page)]
    assert reported == ["p8", "p6", "p4", "p2", "p0"]
    assert waiting == ["p7", "p5", "p3", "p1"]
    assert await pages(store, 2, state=State.GONE) == [[]]


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "no base64 at all",
        "é",
        "\ud800",
        urlsafe_b64encode(b"no-number p1").decode(),
        urlsafe_b64encode(b"1800000000000").decode(),
        urlsafe_b64encode(b"1800000000000 \xff").decode(),
        urlsafe_b64encode(b"9223372036854775808 p1").decode(),
        urlsafe_b64encode(b"1800000000000 p\0").decode(),
        urlsafe_b64encode(b"9" * 5000 + b" p1").decode(),
    ],
)
async def test_a_cursor_that_was_not_given_out_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(BadCursorError):
        await store.views.page(state=None, limit=1, cursor=cursor)


async def test_one_process_is_found_by_its_id_and_an_unknown_one_is_none(
    store: Store, rules: Rules
) -> None:
    await register(store, rules, "p1", "p2")
    found = await store.views.process("p1")
    assert found is not None
    assert (found.process_id, found.dossier_id) == ("p1", "dossier of p1")
    assert await store.views.process("p3") is None


async def test_a_timeline_tells_the_story_of_one_process_in_order(
    store: Store, rules: Rules, receipt: Callable[..., Receipt]
) -> None:
    await register(store, rules, "p1", "p2")
    for number in (1, 2, 3):
        await store.work.record([("p1", Recheck(Verb.FETCH, f"person {number}"))], rules, NOW + 5)
    callback = receipt("p1", dossier_id="dossier of p1")
    await store.inbox.put_many([callback])
    await store.inbox.apply([callback], rules, NOW + 4)  # a clock that went back changes no order
    told = await store.views.timeline("p1")
    assert [(entry.at, entry.event) for entry in told] == [
        (NOW, "process_registered"),
        (NOW + 5, "operator_action"),
        (NOW + 5, "operator_action"),
        (NOW + 5, "operator_action"),
        (NOW + 4, "callback_applied"),
    ]
    assert [entry.fields.get("by") for entry in told[1:4]] == ["person 1", "person 2", "person 3"]
    assert told[0].fields == {}, "a member without a value is left out"
    assert await store.views.timeline("p3") == []


async def test_a_delivery_stands_in_the_timeline_where_it_was_made(
    store: Store, rules: Rules, look: Look
) -> None:
    await register(store, rules, "p1")
    await store.work.record([("p1", Recheck(Verb.FETCH, "person"))], rules, NOW + 20)
    for number, at in enumerate([NOW + 30, NOW + 10, None]):
        look(DELIVERY, f"w{number}", "delivered" if at else "pending", at)
    assert [(entry.at, entry.event) for entry in await store.views.timeline("p1")] == [
        (NOW, "process_registered"),
        (NOW + 10, "delivery_succeeded"),
        (NOW + 20, "operator_action"),
        (NOW + 30, "delivery_succeeded"),
    ]


async def test_a_detail_is_a_process_with_its_timeline_read_in_one_transaction(
    store: Store, rules: Rules
) -> None:
    class Counted:
        """The database, with a count of its transactions."""

        reads = 0

        def read(self) -> Any:
            self.reads += 1
            return store.database.read()

    await register(store, rules, "p1")
    database = Counted()
    views = Views(cast(Database, database))

    detail = await views.detail("p1")

    assert database.reads == 1
    assert detail is not None
    assert detail.process == await store.views.process("p1")
    assert detail.timeline == await store.views.timeline("p1") != []
    assert await views.detail("p2") is None


async def test_all_that_ended_since_a_time_are_listed_in_the_order_of_their_ends(
    store: Store, rules: Rules, look: Look
) -> None:
    """A poller hears of every end: ``gone`` and ``expired`` too, and of each correction."""
    await register(store, rules, *(f"p{number}" for number in range(7)))
    ended = [("settled", 1, 1), ("gone", 2, None), ("expired", 2, None), ("settled", 0, 3)]
    for number, (state, since, settled) in enumerate(ended):
        await store.work.record([(f"p{number}", Recheck(Verb.FETCH, "ann"))], rules, NOW)
        values = ("accepted", "fetch", settled and NOW + settled) if settled else (None, None, None)
        look(
            "UPDATE processes SET state = ?, state_since = ?, status = ?, settled_by = ?,"
            " settled_at = ?, ended_at = coalesce(settled_at, ?) WHERE process_id = ?",
            state, NOW + since, *values, NOW + (settled or since), f"p{number}",
        )  # fmt: skip
    found, cursor = await store.views.ended(since=NOW + 1, limit=2, cursor=None)
    assert ids_of(found) == ["p0", "p1"]
    found, cursor = await store.views.ended(since=NOW + 1, limit=2, cursor=cursor)
    assert (ids_of(found), cursor) == (["p2", "p3"], None)
    assert [process.ended_at for process in found] == [NOW + 2, NOW + 3]
    assert await store.views.ended(since=NOW + 4, limit=2, cursor=None) == ([], None)


async def test_an_empty_ledger_counts_nothing(store: Store) -> None:
    assert await store.views.counts() == Counts(
        states=dict.fromkeys(map(str, State), 0),
        overdue_since=None,
        reported_since=None,
        last_callback_at=None,
        deliveries_pending=0,
        deliveries_dead=0,
    )


async def test_the_counts_tell_how_many_are_in_each_state_and_since_when_the_oldest_is(
    store: Store, rules: Rules, look: Look, receipt: Callable[..., Receipt]
) -> None:
    for number in range(6):
        await register(store, rules, f"p{number}", at=NOW + number * MINUTE)
    callbacks = [
        receipt("p4", dossier_id="dossier of p4", at=NOW + 7 * MINUTE),
        receipt("p5", dossier_id="dossier of p5", at=NOW + 8 * MINUTE),
    ]
    await store.inbox.put_many(callbacks)
    for callback in callbacks:
        await store.inbox.apply([callback], rules, callback.received_at + 1)
    late = NOW + rules.default.callback_timeout + 2 * MINUTE
    await store.work.turn_overdue(rules, late - MINUTE, 100)
    await store.work.turn_overdue(rules, late, 100)
    look("UPDATE processes SET state = 'settled', next_check_at = NULL WHERE process_id = 'p0'")
    for number, state in enumerate(["pending", "pending", "delivered", "dead"]):
        look(DELIVERY, f"w{number}", state, None)

    counts = await store.views.counts()

    assert counts == Counts(
        states={"waiting": 1, "reported": 2, "overdue": 2, "settled": 1, "gone": 0, "expired": 0},
        overdue_since=late - MINUTE,
        reported_since=NOW + 7 * MINUTE + 1,
        last_callback_at=NOW + 8 * MINUTE,
        deliveries_pending=2,
        deliveries_dead=1,
        deliveries_pending_since=1,
    )
