"""A process is the same after its way to the disk and back."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, create_engine, insert, select

from reconciler.ledger import Lane, Lease, SettledBy, State, TrackedProcess, Verb
from reconciler.store.bulk import BulkSelect
from reconciler.store.rows import from_row, to_row
from reconciler.store.schema import processes
from reconciler.store.urls import postgres_url
from tests.postgres import Databases

# No id or word that comes in has a control character; PostgreSQL has no NUL.
_LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_TEXT = st.text(_LETTERS, min_size=1, max_size=255)
_WORD = st.text(_LETTERS, min_size=1, max_size=32)
_MAYBE_TEXT = st.none() | _TEXT
_COUNT = st.integers(0, 2**31 - 1)
_TIME = st.integers(0, 2**63 - 1)
_MAYBE_TIME = st.none() | _TIME
_BROUGHT_BY = st.none() | st.sampled_from(SettledBy)

FIELDS = {
    "process_id": _TEXT,
    "dossier_id": _TEXT,
    "registered_at": _TIME,
    "timeout_from": _TIME,
    "provider": _MAYBE_TEXT,
    "process_type": _MAYBE_TEXT,
    "reference": _MAYBE_TEXT,
    "created_at": _MAYBE_TIME,
    "adopted": st.booleans(),
    "state": st.sampled_from(State),
    "state_since": _TIME,
    "status": _MAYBE_TEXT,
    "settled_by": _BROUGHT_BY,
    "settled_at": _MAYBE_TIME,
    "revision": _COUNT,
    "callback_at": _MAYBE_TIME,
    "claimed_status": _MAYBE_TEXT,
    "claimed_by": _BROUGHT_BY,
    "last_receipt": st.none() | _WORD,
    "duplicates": _COUNT,
    "next_check_at": _MAYBE_TIME,
    "scheduled_at": _TIME,
    "round": _COUNT,
    "rung": _COUNT,
    "tries": _COUNT,
    "lags": _COUNT,
    "unknown_status": _MAYBE_TEXT,
    "unknown_since": _MAYBE_TIME,
    "unknown_looks": _COUNT,
    "pending_seen": st.booleans(),
    "missing_at": _MAYBE_TIME,
    "notified_at": _MAYBE_TIME,
    "asked": st.none() | st.sampled_from(Verb),
    "verify_since": _MAYBE_TIME,
    "catch_up": st.booleans(),
    "notify_attempts": _COUNT,
    "fetch_attempts": _COUNT,
    "recent_calls": st.lists(_TIME, max_size=30).map(tuple),
    "last_error": st.none() | _WORD,
    "attempt": _COUNT,
    "lease": st.none()
    | st.builds(Lease, owner=_WORD, verb=st.sampled_from(Verb), begun_at=_TIME, until=_TIME),
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    if request.param == "sqlite":
        empty_store: Path = request.getfixturevalue("empty_store")
        path = tmp_path_factory.mktemp("rows") / "store.db"
        path.write_bytes(empty_store.read_bytes())
        engine = create_engine(f"sqlite:///{path}")
    else:
        databases: Databases = request.getfixturevalue("databases")
        name = databases.create(request.getfixturevalue("postgres_template"))
        engine = create_engine(postgres_url(databases.url(name))[0])
    yield engine
    engine.dispose()
    if request.param == "postgresql":
        databases.drop(name)


def _packed(connection: Connection) -> list[list[Any]]:
    """Read the row as SQLite packs it; PostgreSQL's are not packed."""
    if connection.dialect.name != "sqlite":
        return []
    rows: list[list[Any]] = orjson.loads(
        connection.scalar(BulkSelect(select(processes)).packed) or ""
    )
    assert len(rows) == 1
    return rows


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(process=st.builds(TrackedProcess, **FIELDS))
def test_what_comes_back_from_the_disk_is_what_went_there(
    engine: Engine, process: TrackedProcess
) -> None:
    with engine.connect() as connection, connection.begin() as transaction:
        connection.execute(insert(processes), to_row(process))
        row = connection.execute(select(processes)).mappings().one()
        packed = _packed(connection)
        transaction.rollback()
    assert from_row(row) == process
    for values in packed:
        assert from_row(dict(zip(processes.c.keys(), values, strict=True))) == process
    assert row["lane"] == process.lane


def test_every_field_is_tried_and_every_column_is_written() -> None:
    assert FIELDS.keys() == {field.name for field in fields(TrackedProcess)}
    process = TrackedProcess(process_id="p", dossier_id="d", registered_at=1, timeout_from=1)
    assert to_row(process).keys() == set(processes.c.keys())


def test_a_row_without_a_due_time_stands_in_no_lane() -> None:
    process = TrackedProcess(process_id="p", dossier_id="d", registered_at=1, timeout_from=1)
    assert to_row(process)["lane"] is None


def test_the_lane_on_disk_is_the_number_of_the_lane() -> None:
    process = TrackedProcess(
        process_id="p", dossier_id="d", registered_at=1, timeout_from=1, next_check_at=1
    )
    assert to_row(process)["lane"] == Lane.WAITING.value
