"""Inserts and selects of many rows in one step of SQLite.

For each row that it reads or writes, sqlite3 releases the GIL and takes it again. Beside a busy
event loop that costs 0.1 ms and more a row, with the writer held. A statement for many rows is one
step.

The reasons: docs/decisions/007.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import Dialect, Select, Table, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

MOST_ROWS = 128
"""Rows in one statement: times 46 columns, far below SQLite's 32,766 parameters."""

_VALUES = re.compile(r"(?<=\bVALUES )(\(\?(?:, ?\?)*\))")

Rows = Sequence[Sequence[Any]]


def bulk_inserts(statement: str, rows: Rows) -> Iterator[tuple[str, list[Any]]] | None:
    """Return statements with their parameters that insert all ``rows`` as ``statement`` does one.

    None where it is no plain ``INSERT … VALUES (?, …)``. The numbers of rows are powers of two, so
    that few different statements are prepared, and found in sqlite3's cache the next time.
    """
    if not statement.startswith("INSERT") or _VALUES.search(statement) is None:
        return None
    return _steps(statement, rows)


def _steps(statement: str, rows: Rows) -> Iterator[tuple[str, list[Any]]]:
    start, size = 0, MOST_ROWS
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        part = rows[start : start + size]
        yield _widened(statement, size), [value for row in part for value in row]
        start += size


@lru_cache(maxsize=64)
def _widened(statement: str, rows: int) -> str:
    return _VALUES.sub(lambda one: ", ".join([one[1]] * rows), statement, count=1)


class BulkInsert:
    """An INSERT of many rows whose values go to the driver as they are.

    SQLAlchemy processes each value of each row; with forty columns that takes longer than the
    database.
    """

    def __init__(self, table: Table) -> None:
        self._insert = insert(table).inline()

    async def __call__(self, connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
        """Insert ``rows``, possibly none; all have the keys of the first."""
        if not rows:
            return
        statement, names = self._compiled(connection.dialect, tuple(rows[0]))
        values = list(map(itemgetter(*names), rows)) if names else rows
        await connection.exec_driver_sql(statement, values)

    @lru_cache(maxsize=8)  # noqa: B019 (made once for each table)
    def _compiled(self, dialect: Dialect, columns: tuple[str, ...]) -> tuple[str, list[str]]:
        """Return the compiled statement, and the order of its values where they are positional."""
        compiled = self._insert.compile(dialect=dialect, column_keys=list(columns))
        return str(compiled), list(compiled.positiontup or ())


class BulkSelect:
    """A SELECT whose rows SQLite returns as one, in JSON; so no column may hold bytes."""

    def __init__(self, query: Select[Any]) -> None:
        self._query = query
        rows = query.subquery("chosen")
        self.packed = select(func.json_group_array(func.json_array(*rows.c)))

    async def rows(self, connection: AsyncConnection, values: dict[str, Any]) -> Rows:
        """Return all rows; a boolean may be 0 or 1."""
        if connection.dialect.name != "sqlite":
            plain: Rows = (await connection.execute(self._query, values)).all()
            return plain
        packed: Rows = orjson.loads(await connection.scalar(self.packed, values) or b"[]")
        return packed
