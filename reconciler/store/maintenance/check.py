"""Checks a whole store in pages, beside a running daemon. Changes nothing."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, bindparam, func, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.store.database import Database
from reconciler.store.errors import StoreUnavailableError
from reconciler.store.maintenance.invariants import (
    Rule,
    Violation,
    of_callback,
    of_delivery,
    of_entry,
    of_process,
)
from reconciler.store.schema import callbacks, deliveries, metadata, processes, timeline

PAGE = 2_000
"""Rows in one transaction."""

MOST_DAMAGE = 100
"""Lines of SQLite's report on a damaged file."""

_RESTORE = "stop the daemon and restore a backup (docs/backup.md)"
_MIGRATE = "run `reconciler init-db`; if it changes nothing, restore a backup (docs/backup.md)"


@dataclass(frozen=True, slots=True)
class _Part:
    table: Table
    key: ColumnElement[Any]
    first: int | str
    """Below every key."""
    rule: Rule


PARTS = (
    _Part(processes, processes.c.process_id, "", of_process),
    _Part(callbacks, callbacks.c.receipt_id, "", of_callback),
    _Part(deliveries, deliveries.c.id, -1, of_delivery),
    _Part(timeline, timeline.c.id, -1, of_entry),
)


def damage(path: Path) -> Iterator[Violation]:
    """Yield the damage that SQLite finds in the file. Blocks while it reads all of it."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.set_progress_handler(lambda: 0, 1_000_000)  # so that Ctrl-C is heard
        try:
            report = [
                row[0] for row in connection.execute(f"PRAGMA integrity_check({MOST_DAMAGE})")
            ]
        except sqlite3.DatabaseError as error:
            report = [str(error)]
    for line in report:
        if line != "ok":
            yield Violation("", None, f"the file is damaged: {line}", _RESTORE)


class StoreCheck:
    """Checks the invariants of one store, table by table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.rows: dict[str, int] = {}
        """How many were checked, by table."""

    async def count(self) -> int | None:
        """Return about how many rows there are to check; None where counting takes too long."""
        rows = 0
        try:
            for part in PARTS:
                async with self._database.read() as connection:
                    count = select(func.count()).select_from(part.table)
                    rows += (await connection.execute(count)).scalar_one()
        except StoreUnavailableError:
            return None
        return rows

    async def schema(self) -> list[Violation]:
        """Return what the database lacks of this program's tables, columns and indexes."""
        async with self._database.read() as connection:
            missing = await connection.run_sync(_missing)
        return [Violation("", None, f"{what} is missing", _MIGRATE) for what in missing]

    async def pages(self) -> AsyncIterator[list[Violation]]:
        """Yield the violations of each page of rows, usually none."""
        for part in PARTS:
            name = str(part.table.name)
            self.rows[name] = 0
            after = part.first
            while True:
                async with self._database.read() as connection:
                    rows = await _page(connection, part, after)
                if not rows:
                    break
                self.rows[name] += len(rows)
                after = rows[-1][part.key.name]
                yield [
                    Violation(name, row["process_id"] or None, what, action)
                    for row in rows
                    for what, action in part.rule(row)
                ]


async def _page(connection: AsyncConnection, part: _Part, after: int | str) -> list[Any]:
    table = part.table
    query = select(table)
    if table is not processes:  # with the dossier of its process, in the same transaction
        known = processes.alias("known")
        query = query.add_columns(known.c.dossier_id.label("known_dossier")).join(
            known, known.c.process_id == table.c.process_id, isouter=True
        )
    query = query.where(part.key > bindparam("after")).order_by(part.key).limit(PAGE)
    return list((await connection.execute(query, {"after": after})).mappings())


def _missing(connection: Connection) -> list[str]:
    found = inspect(connection)
    tables = set(found.get_table_names())
    missing = []
    for name, table in sorted(metadata.tables.items()):
        if name not in tables:
            missing.append(f"the table {name}")
            continue
        columns = {column["name"] for column in found.get_columns(name)}
        indexes = {index["name"] for index in found.get_indexes(name)}
        missing += [f"the column {name}.{c.name}" for c in table.c if c.name not in columns]
        missing += [f"the index {i.name}" for i in table.indexes if i.name not in indexes]
    return missing
