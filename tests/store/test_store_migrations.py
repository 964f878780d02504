"""A migration is one transaction, on both databases."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, inspect

from reconciler.store.errors import StoreError
from reconciler.store.revision import HEAD
from reconciler.store.urls import is_postgres, postgres_url
from tests.store.coming import follow_up, migrate

Look = Callable[..., list[tuple[Any, ...]]]


def schema_of(url: str) -> dict[str, tuple[list[str], list[str]]]:
    """Return the columns and indexes of each table."""
    engine = create_engine(postgres_url(url)[0] if is_postgres(url) else url, poolclass=NullPool)
    found = inspect(engine)
    tables = found.get_table_names()
    return {
        table: (
            [column["name"] for column in found.get_columns(table)],
            sorted(str(index["name"]) for index in found.get_indexes(table)),
        )
        for table in tables
    }


@pytest.mark.parametrize("fault", ["op.execute('DELETE FROM nowhere')", "raise LookupError"])
def test_a_migration_that_fails_half_way_changes_nothing(
    url: str, kind: str, look: Look, tmp_path: Path, fault: str
) -> None:
    look("INSERT INTO facts (name, value) VALUES ('a', 'old')")
    before = schema_of(url)
    assert "facts" in before
    scripts = follow_up(
        tmp_path,
        f"""
        op.execute("CREATE TABLE half_done (id INTEGER)")
        op.execute("ALTER TABLE facts ADD COLUMN unit TEXT")
        op.execute("UPDATE facts SET value = 'new'")
        {fault}
        """,
    )
    with pytest.raises((StoreError, LookupError)) as failed:
        migrate(url, scripts)
    if isinstance(failed.value, StoreError) and kind == "sqlite":
        assert str(failed.value).endswith(": no such table: nowhere")
    assert schema_of(url) == before
    assert look("SELECT name, value FROM facts WHERE name = 'a'") == [("a", "old")]
    assert look("SELECT version_num FROM alembic_version") == [(HEAD,)]
