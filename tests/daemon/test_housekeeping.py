"""Housekeeping removes rows past their time, keeps those that must stay, and holds nobody up."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
import structlog
from sqlalchemy import insert
from structlog.testing import CapturingLogger

from reconciler.daemon.housekeeping import FIRST, LEAST, MOST, MOST_BATCHES, Housekeeping, Pace
from reconciler.ledger import Lease, Registration, Rules, SettledBy, State, TrackedProcess, Verb
from reconciler.ledger.policy import DAY, HOUR
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.delivery_row import delivery_row
from reconciler.store.maintenance.retention import RetentionPeriods
from reconciler.store.open import Store, open_store
from reconciler.store.rows import to_row
from reconciler.store.schema import callbacks, deliveries, processes, timeline
from reconciler.store.sqlite.database import SMALL_CHECKPOINT_PAGES
from reconciler.store.sqlite.reclaim import RESERVE
from reconciler.store.timeline import entry_row
from tests.configuration import in_force_with

NOW = 1_800_000_000_000
KEEP = RetentionPeriods(settled=90 * DAY, callbacks=30 * DAY)
IN_FORCE = in_force_with(retention__settled="90d", retention__callbacks="30d")
OLD = NOW - KEEP.settled
"""A process that ended then is just past its time."""
OLD_CALLBACK = NOW - KEEP.callbacks

Table = Any
Pause = Callable[[float], Awaitable[None]]


def ended(process_id: str, at: int = OLD, **other: Any) -> TrackedProcess:
    process = TrackedProcess(
        process_id=process_id,
        dossier_id="d",
        registered_at=at - HOUR,
        timeout_from=at - HOUR,
        state=State.SETTLED,
        state_since=at,
        status="accepted",
        settled_by=SettledBy.CALLBACK,
        settled_at=at,
    )
    return replace(process, **other)


def still_open(process_id: str, state: State = State.REPORTED) -> TrackedProcess:
    return ended(
        process_id, state=state, status=None, settled_by=None, settled_at=None, next_check_at=NOW
    )


class Ledger:
    """A real store that is filled by hand, and a housekeeping on it."""

    def __init__(self, store: Store, path: Path) -> None:
        self.store = store
        self.path = path
        self.now = NOW
        self.lines = CapturingLogger()
        self.log = structlog.wrap_logger(
            self.lines, processors=[], wrapper_class=structlog.make_filtering_bound_logger(0)
        )

    async def put(self, table: Table, *rows: dict[str, Any]) -> None:
        async with self.store.database.write() as connection:
            for start in range(0, len(rows), 1_000):
                await connection.execute(insert(table), list(rows[start : start + 1_000]))

    async def add(
        self,
        *new: TrackedProcess,
        entries: int = 5,
        pending: bool = False,
        outcome: str = "applied",
    ) -> None:
        """Put processes on the ledger, each with entries, a callback and a delivery."""
        await self.put(processes, *map(to_row, new))
        await self.put(
            timeline,
            *(entry_row(p.process_id, p.state_since, "callback_applied", {})
              for p in new for _ in range(entries)),
        )  # fmt: skip
        await self.put(callbacks, *(callback(p.process_id, p.state_since, outcome) for p in new))
        await self.put(deliveries, *(result(p, is_pending=pending) for p in new))

    def keeper(self, pause: Pause | None = None) -> Housekeeping:
        clock = PausingClock(self, pause)
        return Housekeeping(self.store.database, Current(IN_FORCE), clock, self.log)

    async def round(self) -> None:
        keeper = self.keeper()
        while await keeper.turn():
            pass

    def look(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection:
            rows = connection.execute(sql).fetchall()
        return [row[0] if len(row) == 1 else row for row in rows]

    def ids(self, table: str) -> list[str]:
        return self.look(f"SELECT DISTINCT process_id FROM {table} ORDER BY process_id")

    def purged(self) -> list[dict[str, Any]]:
        return [line.kwargs for line in self.lines.calls if line.kwargs["event"] == "purged"]


class PausingClock(Clock):
    """The wall time of a ledger; a pause is over at once, or is as the test wants it."""

    def __init__(self, ledger: Ledger, pause: Pause | None) -> None:
        self._ledger = ledger
        self._pause = pause

    def now(self) -> int:
        return self._ledger.now

    async def sleep(self, seconds: float) -> None:
        if self._pause is not None:
            await self._pause(seconds)


_serials = iter(range(10**9))


def callback(process_id: str, at: int, outcome: str | None = "applied") -> dict[str, Any]:
    return {
        "receipt_id": f"{next(_serials):032x}",
        "received_at": at,
        "process_id": process_id,
        "dossier_id": "d",
        "status": "accepted",
        "extra": None,
        "body_sha256": b"\0" * 32,
        "outcome": outcome,
    }


def result(process: TrackedProcess, *, is_pending: bool) -> dict[str, Any]:
    row = delivery_row(process, "process.settled", process.state_since)
    if is_pending:
        return {**row, "delivered_at": None}
    told = {"state": "delivered", "next_attempt_at": None}
    return {**row, **told, "delivered_at": process.state_since}


@pytest.fixture
async def ledger(tmp_path: Path, empty_store: Path) -> AsyncIterator[Ledger]:
    path = Path(copy(empty_store, tmp_path / "store.db"))
    store = await open_store(f"sqlite:///{path}", is_daemon=True)
    yield Ledger(store, path)
    await store.database.close()


async def test_of_twenty_thousand_rows_exactly_those_past_their_time_go(ledger: Ledger) -> None:
    old = [ended(f"old-{n:04}", OLD - n * HOUR) for n in range(2_500)]
    old[7] = replace(old[7], state=State.GONE, status=None, settled_by=None, settled_at=None)
    old[8] = replace(old[8], state=State.EXPIRED, status=None, settled_by=None, settled_at=None)
    await ledger.add(*old)
    young = [ended(f"young-{n:03}", OLD + 1 + n * HOUR) for n in range(500)]
    await ledger.add(*young)
    assert ledger.look("SELECT count(*) FROM timeline") == [15_000]

    await ledger.round()

    left = [p.process_id for p in young]
    assert ledger.ids("processes") == left
    assert ledger.ids("timeline") == left
    assert ledger.ids("deliveries") == left
    [line] = ledger.purged()
    assert (line["processes"], line["entries"], line["deliveries"]) == (2_500, 12_500, 2_500)
    assert (line["callbacks"], line["longest_ms"] > 0) == (2_500 + 500, True)


@pytest.mark.parametrize(
    ("name", "process", "belongings"),
    [
        ("a result that is still to be delivered", ended("p"), {"pending": True}),
        ("a verification that is owed", ended("p", next_check_at=NOW + DAY, verify_since=NOW), {}),
        ("a call that is under way",
         ended("p", attempt=1, lease=Lease(owner="one", verb=Verb.FETCH, begun_at=NOW - 1,
                                           until=NOW + 1)), {}),
        ("a callback that was not applied yet", ended("p"), {"outcome": None}),
        ("an open process", still_open("p"), {}),
        ("an open process that nobody looks at", still_open("p", State.WAITING), {}),
    ],
)  # fmt: skip
async def test_what_is_not_over_stays_however_old_with_all_that_belongs_to_it(
    ledger: Ledger, name: str, process: TrackedProcess, belongings: dict[str, Any]
) -> None:
    await ledger.add(ended("gone"))
    await ledger.add(process, **belongings)
    kept_callback = process.next_check_at is not None or belongings.get("outcome", "") is None

    await ledger.round()

    assert ledger.ids("processes") == ["p"], name
    assert ledger.look("SELECT count(*) FROM timeline") == [5]
    assert ledger.look("SELECT count(*) FROM deliveries") == [1]
    assert ledger.look("SELECT count(*) FROM callbacks") == [int(kept_callback)]


async def test_what_kept_a_process_keeps_it_no_longer_once_it_is_done(ledger: Ledger) -> None:
    await ledger.add(ended("p"), pending=True)
    await ledger.round()
    [leased] = await ledger.store.outbox.claim(1, owner="one", now=NOW, length=1)
    await ledger.round()
    assert ledger.ids("processes") == ["p"]
    async with ledger.store.database.write() as connection:
        await connection.exec_driver_sql(
            "UPDATE deliveries SET state = 'dead', next_attempt_at = NULL"
        )
    await ledger.round()
    assert ledger.ids("processes") == ledger.ids("deliveries") == []
    assert leased.process_id == "p"


async def test_old_callbacks_go_unless_unapplied_or_of_a_process_at_work(ledger: Ledger) -> None:
    await ledger.put(processes, to_row(ended("settled", NOW)), to_row(still_open("reported")))
    old = {
        "settled": "applied",
        "reported": "applied",
        "unknown": "unmatched",
        "other-dossier": "mismatch",
        "not-yet": None,
    }
    for process_id, outcome in old.items():
        await ledger.put(callbacks, callback(process_id, OLD_CALLBACK, outcome))
    await ledger.put(callbacks, callback("young", OLD_CALLBACK + 1, "unmatched"))

    await ledger.round()

    assert ledger.ids("callbacks") == ["not-yet", "reported", "young"]
    assert ledger.ids("processes") == ["reported", "settled"]


async def test_what_belongs_to_no_process_goes_when_it_is_old(ledger: Ledger) -> None:
    for at, name in ((OLD, "old"), (OLD + 1, "young")):
        note = {"action": f"{name} note"}
        await ledger.put(timeline, entry_row("", at, "operator_action", note))
        await ledger.put(timeline, entry_row(f"{name}-unknown", at, "callback_unmatched", {}))
        await ledger.put(
            deliveries,
            result(ended(f"{name}-lost", at), is_pending=False),
            result(ended(f"{name}-pending", at), is_pending=True),
        )
    await ledger.put(processes, to_row(still_open("open")))
    await ledger.put(timeline, entry_row("open", OLD - DAY, "process_registered", {}))

    await ledger.round()

    assert ledger.ids("timeline") == ["", "open", "young-unknown"]
    assert ledger.look("SELECT fields FROM timeline WHERE process_id = ''") == [
        '{"action":"young note"}'
    ]
    assert ledger.ids("deliveries") == ["old-pending", "young-lost", "young-pending"]


async def test_strays_are_found_behind_many_old_rows_that_must_stay(ledger: Ledger) -> None:
    await ledger.put(processes, to_row(still_open("open")))
    kept = [entry_row("open", OLD - 1, "notify_requested", {}) for _ in range(1_700)]
    strays = [entry_row("", OLD, "operator_action", {}) for _ in range(900)]
    await ledger.put(timeline, *kept[:600], *strays, *kept[600:], *strays)

    await ledger.round()

    assert ledger.look("SELECT count(*) FROM timeline") == [1_700]
    assert ledger.ids("timeline") == ["open"]


async def test_a_process_with_more_rows_than_a_transaction_takes_goes_in_pieces(
    ledger: Ledger,
) -> None:
    await ledger.put(processes, to_row(ended("flooded")))
    await ledger.put(callbacks, *(callback("flooded", OLD) for _ in range(3 * MOST)))
    sizes = []
    keeper = ledger.keeper()
    while await keeper.turn():
        sizes.append(ledger.look("SELECT count(*) FROM callbacks")[0])
    assert ledger.ids("processes") == ledger.ids("callbacks") == []
    assert ledger.purged()[0]["callbacks"] == 3 * MOST


async def test_everybody_has_the_writer_between_two_pieces(ledger: Ledger) -> None:
    await ledger.add(*(ended(f"p{n:03}") for n in range(300)))
    pauses: list[float] = []

    async def register_meanwhile(seconds: float) -> None:
        new = Registration(f"new-{len(pauses)}", "d")
        pauses.append(seconds)
        await ledger.store.registry.register([new], Rules(), NOW, whole=True)

    keeper = ledger.keeper(register_meanwhile)
    while await keeper.turn():
        pass

    assert len(pauses) > 1
    assert all(seconds > 0 for seconds in pauses)
    assert ledger.look("SELECT count(*) FROM processes") == [len(pauses)]


async def test_a_turn_is_short_says_that_there_is_more_and_the_next_goes_on(
    ledger: Ledger,
) -> None:
    # So many entries each that a transaction of the greatest size is not enough for them.
    await ledger.add(*(ended(f"p{n}") for n in range(50)), entries=1_000)
    pieces: list[float] = []

    async def count(seconds: float) -> None:
        pieces.append(seconds)

    keeper, turns = ledger.keeper(count), 1
    while await keeper.turn():
        assert len(pieces) <= turns * MOST_BATCHES
        assert ledger.purged() == [], "a line for the whole round, not for each turn"
        turns += 1

    assert turns > 1
    assert ledger.ids("processes") == []
    assert [line["processes"] for line in ledger.purged()] == [50]


async def test_a_round_that_finds_nothing_says_nothing(ledger: Ledger) -> None:
    await ledger.add(ended("young", NOW))
    await ledger.round()
    assert [line for line in ledger.purged() if line["processes"]] == []
    ledger.lines.calls.clear()
    await ledger.round()
    assert ledger.lines.calls == []


async def test_each_round_begins_with_the_time_and_the_setting_of_its_begin(
    ledger: Ledger,
) -> None:
    await ledger.add(ended("p", OLD + 10))
    keeper = ledger.keeper()
    assert not await keeper.turn()
    assert ledger.ids("processes") == ["p"]
    ledger.now += 10
    assert not await keeper.turn()
    assert ledger.ids("processes") == []


def test_the_pace_aims_at_a_hold_and_never_jumps() -> None:
    pace = Pace()
    assert pace.rows == FIRST
    pace.took(0.0)
    assert pace.rows == 2 * FIRST, "doubled at the most"
    for _ in range(20):
        pace.took(0.001 * pace.rows / 50)
    assert pace.rows == 500, "what fits into the target"
    pace.took(0.1)
    assert pace.rows == 50, "back at once when it took too long"
    pace.took(10.0)
    assert pace.rows == LEAST, "a slow disk is not made faster by fewer rows"
    for _ in range(20):
        pace.took(0.0)
    assert pace.rows == MOST


async def test_free_pages_are_given_back_but_for_a_reserve(ledger: Ledger) -> None:
    await ledger.add(*(ended(f"p{n:05}") for n in range(4_000)), entries=20)
    pages = int(ledger.look("PRAGMA page_count")[0])

    await ledger.round()

    free, left = ledger.look("PRAGMA freelist_count")[0], ledger.look("PRAGMA page_count")[0]
    assert free == RESERVE
    assert left < pages
    [line] = ledger.purged()
    assert 0 <= pages - left - line["pages"] < 10, "with a few that said where those were"
    assert ledger.look("PRAGMA integrity_check") == ["ok"]
    await ledger.round()
    assert len(ledger.purged()) == 1, "the reserve stays"


async def test_a_store_that_was_made_without_incremental_vacuum_is_left_alone(
    tmp_path: Path, empty_store: Path
) -> None:
    path = Path(copy(empty_store, tmp_path / "foreign.db"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA auto_vacuum=NONE")
        connection.execute("VACUUM")
    store = await open_store(f"sqlite:///{path}", is_daemon=True)
    try:
        ledger = Ledger(store, path)
        assert ledger.look("PRAGMA auto_vacuum") == [0]
        await ledger.add(*(ended(f"p{n:05}") for n in range(4_000)), entries=20)
        pages = ledger.look("PRAGMA page_count")

        await ledger.round()

        assert ledger.ids("processes") == []
        assert ledger.look("PRAGMA page_count") == pages
        assert ledger.purged()[0]["pages"] == 0
    finally:
        await store.database.close()


async def test_while_a_turn_lasts_checkpoints_are_small_and_then_as_before(
    ledger: Ledger,
) -> None:
    await ledger.add(*(ended(f"p{n}") for n in range(20)))
    seen: list[int] = []

    async def setting() -> int:
        async with ledger.store.database.write() as connection:
            return int((await connection.exec_driver_sql("PRAGMA wal_autocheckpoint")).scalar_one())

    async def look(_: float) -> None:
        seen.append(await setting())

    before = await setting()
    keeper = ledger.keeper(look)
    while await keeper.turn():
        pass
    assert set(seen) == {SMALL_CHECKPOINT_PAGES}
    assert await setting() == before > SMALL_CHECKPOINT_PAGES


CANARY = "canary-7c1e9a2b"


def traces(path: Path) -> list[str]:
    files = [path, path.with_name(path.name + "-wal")]
    return [file.name for file in files if CANARY.encode() in file.read_bytes()]


async def test_after_a_forget_the_next_round_leaves_no_byte_of_it_on_disk(
    ledger: Ledger,
) -> None:
    await ledger.add(ended(CANARY, NOW, reference=CANARY), ended("other", NOW))
    assert await ledger.store.registry.forget(CANARY, "ada", NOW)
    assert traces(ledger.path), "the WAL still holds what was written before"

    await ledger.round()

    assert traces(ledger.path) == []
    assert ledger.ids("processes") == ["other"]


async def test_while_somebody_reads_the_wal_stays_and_a_later_round_empties_it(
    ledger: Ledger,
) -> None:
    await ledger.add(ended(CANARY, NOW))
    keeper = ledger.keeper()
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM processes").fetchall()
        await ledger.store.registry.forget(CANARY, "ada", NOW)
        assert not await keeper.turn()
        assert traces(ledger.path)
    assert not await keeper.turn()
    assert traces(ledger.path) == []


async def test_only_the_daemon_empties_the_wal(ledger: Ledger) -> None:
    command = await open_store(f"sqlite:///{ledger.path}", is_daemon=False)
    try:
        await ledger.add(ended(CANARY, NOW))
        await command.registry.forget(CANARY, "ada", NOW)
        beside = Ledger(command, ledger.path)
        await beside.round()
        assert traces(ledger.path)
        await ledger.round()
        assert traces(ledger.path) == []
    finally:
        await command.database.close()
