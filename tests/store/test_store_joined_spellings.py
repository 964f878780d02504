"""The migration joins processes whose ids differ in letter case only, and loses no result."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, NullPool, create_engine, insert, select

from reconciler.ledger import SettledBy, State, TrackedProcess
from reconciler.store.maintenance.invariants import of_process
from reconciler.store.open import prepare
from reconciler.store.postgres.migrate import migrate_postgres
from reconciler.store.revision import MIGRATIONS
from reconciler.store.rows import from_row, to_row
from reconciler.store.schema import callbacks, processes, timeline
from reconciler.store.sqlite.migrate import migrate_sqlite
from reconciler.store.urls import postgres_url
from tests.clock import NOW
from tests.postgres import Databases

LOWER = "0b6f8e0a-3c1d-4e5f-8a9b-0c1d2e3f4a5b"
UPPER = LOWER.upper()
ADDED = {"ended_at", "unknown_status", "unknown_since", "unknown_looks", "recent_calls", "spelling"}
OPEN = {"next_check_at": NOW}
SETTLED = {"settled_by": SettledBy.FETCH, "settled_at": NOW + 5, "state": State.SETTLED}

Migrated = Callable[..., list[TrackedProcess]]


@pytest.fixture
def old_url(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a store of revision 0002."""
    if kind == "sqlite":
        path = tmp_path / "old.db"
        migrate_sqlite(path, MIGRATIONS, "0002")
        yield f"sqlite:///{path}"
        return
    databases: Databases = request.getfixturevalue("databases")
    name = databases.create()
    migrate_postgres(*postgres_url(databases.url(name)), MIGRATIONS, "0002")
    yield databases.url(name)
    databases.drop(name)


@pytest.fixture
def migrated(old_url: str, kind: str) -> Migrated:
    """Write rows into the old store, migrate it, and return what is there."""
    address: Any = old_url if kind == "sqlite" else postgres_url(old_url)[0]
    engine = create_engine(address, poolclass=NullPool)

    def put(connection: Connection, process: TrackedProcess) -> None:
        row = {**to_row(process), "process_id": process.process_id}
        old = {name: value for name, value in row.items() if name not in ADDED}
        connection.execute(insert(processes).values(old).inline(), {})
        for table in (callbacks, timeline):
            filler = {c.name: c.type.python_type() for c in table.c if not c.nullable}
            values = {**filler, "process_id": process.process_id}
            if table is callbacks:
                values |= {"receipt_id": f"r-{process.process_id[:8]}", "outcome": "applied"}
            else:
                values.pop("id")
            connection.execute(insert(table).values(values).inline())

    def migrated(*rows: TrackedProcess) -> list[TrackedProcess]:
        with engine.begin() as connection:
            for process in rows:
                put(connection, process)
        prepare(old_url, may_create=False, may_migrate=True)
        with engine.begin() as connection:
            found = connection.execute(select(processes)).mappings().all()
            assert [list(of_process(row)) for row in found] == [[]] * len(found)  # type: ignore[arg-type]
            for table in (callbacks, timeline):
                keys = connection.execute(select(table.c.process_id)).scalars()
                assert set(keys) == {row["process_id"] for row in found}
        engine.dispose()
        return sorted(map(from_row, found), key=lambda process: process.process_id)

    return migrated


def process(process_id: str, **facts: Any) -> TrackedProcess:
    dossier_id = facts.pop("dossier_id", "dossier")
    return TrackedProcess(
        process_id=process_id,
        dossier_id=dossier_id,
        registered_at=NOW,
        timeout_from=NOW,
        state_since=NOW,
        **facts,
    )


def test_what_is_there_once_keeps_its_spelling_and_gets_its_key(migrated: Migrated) -> None:
    rows = migrated(process(UPPER, **OPEN), process("Order-7", **OPEN), process("order-7", **OPEN))
    assert [(row.process_id, row.key) for row in rows] == [
        (UPPER, LOWER),
        ("Order-7", "Order-7"),
        ("order-7", "order-7"),
    ]


def test_the_result_of_one_and_the_registration_of_the_other_are_kept(migrated: Migrated) -> None:
    [row] = migrated(
        process(UPPER, state=State.OVERDUE, reference="order 17", dossier_id="D", **OPEN),
        process(LOWER, adopted=True, status="rejected", dossier_id="d", **SETTLED),
    )
    assert (row.process_id, row.dossier_id, row.reference) == (UPPER, "D", "order 17")
    assert (row.state, row.status, row.adopted) == (State.SETTLED, "rejected", False)
    assert (row.next_check_at, row.ended_at) == (None, NOW + 5)


def test_a_claim_is_kept_where_the_registered_row_was_given_up(migrated: Migrated) -> None:
    claim = {"claimed_status": "accepted", "callback_at": NOW, "state": State.REPORTED}
    [row] = migrated(
        process(LOWER, state=State.EXPIRED), process(UPPER, adopted=True, **claim, **OPEN)
    )
    assert (row.process_id, row.state, row.claimed_status) == (LOWER, State.REPORTED, "accepted")


@pytest.mark.parametrize(("other", "due"), [("accepted", None), ("rejected", NOW + 5)])
def test_two_results_that_differ_owe_a_verification(
    migrated: Migrated, other: str, due: int | None
) -> None:
    [row] = migrated(
        process(UPPER, status="accepted", **SETTLED), process(LOWER, status=other, **SETTLED)
    )
    assert row.state is State.SETTLED
    assert (row.verify_since, row.next_check_at) == (due, due)
