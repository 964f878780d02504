"""Many rows in one step of SQLite.

For each row that it takes or gives, sqlite3 lets go of the interpreter and asks for it again. While
the event loop is busy that is 0.1 ms and more for a row, with the writer held. A statement that
names many rows is one step, whatever their number.
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
"""Rows of one statement: its 41 columns are far below SQLite's 32,766 parameters."""

_VALUES = re.compile(r"(?<=\bVALUES )(\(\?(?:, ?\?)*\))")

Rows = Sequence[Sequence[Any]]


def bulk_inserts(statement: str, rows: Rows) -> Iterator[tuple[str, list[Any]]] | None:
    """Return statements and parameters that do what ``statement`` does with each of ``rows``.

    None where it is no plain ``INSERT … VALUES (?, …)``. The numbers of rows are powers of two,
    so that few statements are prepared, and those are found prepared the next time.
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
    """An INSERT of many rows whose values are what the driver takes: no type converts them.

    SQLAlchemy looks at each value of each row; for a row of forty columns that takes longer than
    the database does.
    """

    def __init__(self, table: Table) -> None:
        self._insert = insert(table).inline()

    async def __call__(self, connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
        """Insert ``rows``, if there are any; all have the members of the first."""
        if not rows:
            return
        statement, names = self._compiled(connection.dialect, tuple(rows[0]))
        values = list(map(itemgetter(*names), rows)) if names else rows
        await connection.exec_driver_sql(statement, values)

    @lru_cache(maxsize=8)  # noqa: B019 (made once for each table)
    def _compiled(self, dialect: Dialect, columns: tuple[str, ...]) -> tuple[str, list[str]]:
        """Return the statement in the driver's words, and the order of its values, if it has."""
        compiled = self._insert.compile(dialect=dialect, column_keys=list(columns))
        return str(compiled), list(compiled.positiontup or ())


class BulkSelect:
    """A SELECT whose rows SQLite hands over as one: as JSON, so without bytes in it."""

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
