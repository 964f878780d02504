"""``check-db`` accepts every row that the ledger writes, and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import invariant

from reconciler.ledger import Lease, Registration, Rules, SettledBy, State, TrackedProcess, Verb
from reconciler.store.actions import Action
from reconciler.store.inbox import Receipt
from reconciler.store.maintenance.check import PAGE, StoreCheck, damage
from reconciler.store.maintenance.invariants import Violation, of_process
from reconciler.store.open import Store
from reconciler.store.rows import to_row
from reconciler.store.sqlite.database import SqliteDatabase
from tests.clock import NOW
from tests.ledger import test_ledger_properties as ledger

Look = Callable[..., list[Any]]


@pytest.fixture
def kind() -> str:
    """The tests change rows in the file."""
    return "sqlite"


class OneRow(ledger.OneProcess):
    """After any observations the row of a process is sound."""

    @invariant()
    def check_db_finds_nothing(self) -> None:
        if self.process is not None:
            assert list(of_process(to_row(self.process))) == []


OneRow.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestOneRow = OneRow.TestCase

OPEN = TrackedProcess(
    process_id="p", dossier_id="d", registered_at=NOW, timeout_from=NOW, next_check_at=NOW
)
SETTLED = replace(
    OPEN,
    state=State.SETTLED,
    status="accepted",
    settled_by=SettledBy.FETCH,
    settled_at=NOW,
    next_check_at=None,
)
HELD = replace(OPEN, attempt=1, lease=Lease(owner="one", verb=Verb.FETCH, begun_at=1, until=2))


@pytest.mark.parametrize(
    ("process", "changes", "what"),
    [
        (OPEN, {"state": "lost"}, "its state is 'lost', which is none"),
        (OPEN, {"next_check_at": None, "lane": None}, "no due time"),
        (OPEN, {"lane": 0}, "stands in lane 0 and belongs into 4"),
        (OPEN, {"lane": None}, "stands in lane None and belongs into 4"),
        (OPEN, {"status": "accepted"}, "it is waiting, and has the status of a settled one"),
        (OPEN, {"settled_at": NOW}, "it is waiting, and has the status of a settled one"),
        (OPEN, {"state": "reported", "lane": 0}, "it is reported, and there is no claim"),
        (OPEN, {"claimed_by": "nobody"}, "it cannot be read"),
        (OPEN, {"fetch_attempts": -1}, "one of its counts is negative"),
        (SETTLED, {"status": None}, "is missing"),
        (SETTLED, {"settled_by": None}, "is missing"),
        (SETTLED, {"next_check_at": NOW, "lane": 0}, "no verification is owed"),
        (SETTLED, {"verify_since": NOW}, "it has no due time"),
        (SETTLED, {"state": "gone"}, "it is gone, and has the status of a settled one"),
        (HELD, {"lease_until": None}, "its lease is not whole"),
        (HELD, {"lease_owner": None}, "its lease is not whole"),
        (HELD, {"lease_verb": "dance"}, "its lease is not whole"),
        (HELD, {"lease_begun_at": 3}, "its lease ends before it begins"),
    ],
)
def test_a_row_that_the_ledger_never_writes_is_found(
    process: TrackedProcess, changes: dict[str, Any], what: str
) -> None:
    assert list(of_process(to_row(process))) == []
    [(said, action)] = of_process({**to_row(process), **changes})
    assert what in said
    assert "reconciler " in action


async def findings(store: Store) -> list[Violation]:
    return [each async for page in StoreCheck(store.database).pages() for each in page]


@pytest.fixture
async def sound(store: Store, rules: Rules, receipt: Callable[..., Receipt]) -> Store:
    """A store with rows in every table, written by the program itself."""
    rules = replace(rules, deliver=True, default=replace(rules.default, confirm_callbacks=False))
    await store.registry.register(
        [Registration(f"p{n}", "d1") for n in range(5)], rules, NOW, whole=True
    )
    came = [receipt("p0"), receipt("p1"), receipt("p2", dossier_id="other")]
    await store.inbox.put_many(came)
    await store.inbox.apply(came, rules, NOW)
    unknown = receipt("unknown")
    await store.inbox.put_many([unknown])
    await store.inbox.apply([unknown], replace(rules, adopt_unknown=False), NOW)
    await store.inbox.put_many([receipt("not-yet")])
    await store.outbox.claim(1, owner="one", now=NOW, length=1_000)
    await store.actions.write([Action(NOW, "ada", "recheck", "p0")], is_logged=False)
    assert await findings(store) == []
    return store


@pytest.mark.parametrize(
    ("sql", "process_id", "what"),
    [
        ("UPDATE callbacks SET outcome = 'eaten' WHERE process_id = 'p0'", "p0", "'eaten'"),
        ("UPDATE callbacks SET outcome = 'applied' WHERE process_id = 'unknown'", "unknown",
         "its process is not on the ledger"),
        ("UPDATE callbacks SET outcome = 'unmatched' WHERE process_id = 'p1'", "p1",
         "a callback was not applied"),
        ("UPDATE deliveries SET state = 'lost' WHERE process_id = 'p0'", "p0", "'lost'"),
        ("UPDATE deliveries SET next_attempt_at = NULL WHERE process_id = 'p1'", "p1",
         "next attempt says otherwise"),
        ("UPDATE deliveries SET delivered_at = 1 WHERE process_id = 'p1'", "p1",
         "time of delivery says otherwise"),
        ("UPDATE deliveries SET lease_until = 1 WHERE process_id = 'p1'", "p1", "lease of msg_"),
        ("UPDATE deliveries SET payload = '[' WHERE process_id = 'p1'", "p1", "payload"),
        ("UPDATE deliveries SET type = 'spam' WHERE process_id = 'p1'", "p1", "type"),
        ("UPDATE deliveries SET attempts = -1 WHERE process_id = 'p1'", "p1", "negative"),
        ("UPDATE timeline SET fields = 'x' WHERE process_id = 'p4'", "p4", "cannot be read"),
        ("DELETE FROM processes WHERE process_id = 'p4'", "p4", "of a process not on the ledger"),
    ],
)  # fmt: skip
async def test_what_does_not_fit_together_is_found_under_its_process(
    sound: Store, look: Look, sql: str, process_id: str, what: str
) -> None:
    look(sql)
    [found] = await findings(sound)
    assert found.process_id == process_id
    assert what in found.what
    assert "reconciler " in found.action


async def test_a_delivery_without_its_process_is_found(sound: Store, look: Look) -> None:
    for table in ("processes", "callbacks", "timeline"):
        look(f"DELETE FROM {table} WHERE process_id = 'p0'")
    [found] = await findings(sound)
    assert (found.table, found.process_id) == ("deliveries", "p0")


async def test_more_rows_than_a_page_are_all_looked_at(
    store: Store, rules: Rules, look: Look
) -> None:
    for start in range(0, 2 * PAGE + 1, 500):
        batch = [
            Registration(f"p{n:05}", "d") for n in range(start, min(start + 500, 2 * PAGE + 1))
        ]
        await store.registry.register(batch, rules, NOW, whole=True)
    look("UPDATE processes SET lane = 3 WHERE process_id IN ('p00000', 'p01999', 'p02000')")
    look("UPDATE processes SET lane = 3 WHERE process_id = (SELECT max(process_id) FROM processes)")
    checkup = StoreCheck(store.database)
    found = [each.process_id async for page in checkup.pages() for each in page]
    assert found == ["p00000", "p01999", "p02000", f"p{2 * PAGE:05}"]
    assert checkup.rows["processes"] == checkup.rows["timeline"] == 2 * PAGE + 1
    assert await checkup.count() == sum(checkup.rows.values())


async def test_what_the_schema_lacks_is_named(store: Store, look: Look) -> None:
    checkup = StoreCheck(store.database)
    assert await checkup.schema() == []
    look("DROP INDEX ix_processes_due")
    look("ALTER TABLE instances DROP COLUMN spooled")
    assert [found.what for found in await checkup.schema()] == [
        "the column instances.spooled is missing",
        "the index ix_processes_due is missing",
    ]


async def test_a_damaged_page_is_found(sound: Store, look: Look) -> None:
    database = sound.database
    assert isinstance(database, SqliteDatabase)
    assert list(damage(database.path)) == []
    [(root,)] = look("SELECT rootpage FROM sqlite_schema WHERE name = 'ix_timeline_process'")
    assert await database.empty_wal()
    with database.path.open("r+b") as file:
        file.seek((root - 1) * 4096 + 4000)
        file.write(b"\xff" * 96)
    found = list(damage(database.path))
    assert found
    assert all("the file is damaged: " in each.what for each in found)
    assert "restore a backup" in found[0].action
