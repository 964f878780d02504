"""docs/privacy.md leaves out no column, and invents none."""

import re
from typing import Any

import pytest

from reconciler.store.schema import metadata


@pytest.fixture
def stored(documents: list[Any]) -> dict[str, list[str]]:
    """The columns that are told of each table."""
    (privacy,) = (each for each in documents if each.name == "docs/privacy.md")
    _, *parts = re.split(r"^### (\w+)$", privacy.section("What is stored"), flags=re.MULTILINE)
    return {
        table: [name for row in _rows(text) for name in re.findall(r"`(\w+)`", row.split("|")[1])]
        for table, text in zip(parts[::2], parts[1::2], strict=True)
    }


def _rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| `")]


def test_every_table_is_told(stored: dict[str, list[str]]) -> None:
    assert stored.keys() == metadata.tables.keys()


@pytest.mark.parametrize("table", sorted(metadata.tables))
def test_every_column_is_told_once(stored: dict[str, list[str]], table: str) -> None:
    assert sorted(stored[table]) == sorted(metadata.tables[table].columns.keys())
