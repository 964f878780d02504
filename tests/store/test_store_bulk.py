"""Many rows are inserted in few steps, and all of them."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.store.bulk import MOST_ROWS, bulk_inserts
from reconciler.store.open import Store
from reconciler.store.schema import facts

Look = Callable[..., list[tuple[Any, ...]]]

INSERT = "INSERT INTO facts (name, value) VALUES (?, ?)"


@given(rows=st.lists(st.tuples(st.text(), st.integers()), min_size=1, max_size=700))
def test_all_rows_are_taken_in_their_order_and_few_statements_are_needed(
    rows: list[tuple[str, int]],
) -> None:
    steps = list(bulk_inserts(INSERT, rows) or ())
    assert [value for _, values in steps for value in values] == [v for row in rows for v in row]
    assert len(steps) <= len(rows) // MOST_ROWS + MOST_ROWS.bit_length()
    for statement, values in steps:
        assert statement.count("?") == len(values)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE facts SET value = ? WHERE name = ?",
        "INSERT INTO facts (name, value) VALUES ('proof', ?)",
        "INSERT INTO facts (name, value) SELECT ?, ?",
    ],
)
def test_any_other_statement_is_left_to_the_driver(statement: str) -> None:
    assert bulk_inserts(statement, [("a", 1)]) is None


class TestOnSqlite:
    @pytest.fixture
    def kind(self) -> str:
        return "sqlite"

    @pytest.mark.parametrize("count", [1, 2, 3, 127, 128, 129, 500])
    async def test_the_store_keeps_every_row_of_a_group(
        self, store: Store, look: Look, count: int
    ) -> None:
        rows = [(f"name-{number}", "value") for number in range(count)]
        await store.database.insert_new((facts.c.name, facts.c.value), [*rows, rows[0]])
        assert sorted(look("SELECT name, value FROM facts")) == sorted(rows)
