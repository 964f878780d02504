"""Keeps what people did: rows that the running daemon logs, whoever wrote them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from sqlalchemy import bindparam, insert, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reconciler.ledger.identifiers import key_of
from reconciler.store.database import Database
from reconciler.store.paging import BadCursorError, cursor_of, position_in
from reconciler.store.retry import retried
from reconciler.store.schema import Millis, Serial, actions

_A = actions.c
_UNLOGGED = select(actions).where(text("NOT is_logged")).order_by(_A.id).limit(bindparam("most"))


@dataclass(frozen=True, slots=True)
class Action:
    """An action of a person; ``at`` in UTC milliseconds."""

    at: int
    by: str
    name: str
    process_id: str | None = None
    """The process that is concerned; None: several, or none that may be named."""
    fields: dict[str, Any] = field(default_factory=dict)
    """More that is told of it, such as ``{"processes": 12}``."""

    def row(self, *, is_logged: bool) -> dict[str, Any]:
        """Return its row."""
        key = None if self.process_id is None else key_of(self.process_id)
        return {
            "at": self.at,
            "actor": self.by,
            "action": self.name,
            "process_id": key,
            "spelling": None if self.process_id == key else self.process_id,
            "fields": orjson.dumps(self.fields).decode(),
            "is_logged": is_logged,
        }


@dataclass(frozen=True, slots=True)
class Note:
    """An action to write in the transaction of the change that it tells of."""

    action: Action
    is_logged: bool
    """Whether the writer logs it itself."""
    counting: str | None = None
    """The field that tells how many were changed, where one action tells of all."""
    before: int = 0
    """How many the action has changed already, in earlier transactions."""

    async def write(self, connection: AsyncConnection, changed: Sequence[str]) -> None:
        """Note that the processes or deliveries ``changed`` were: one row for each, or for all.

        The row for all is the same in each transaction, and counts up.
        """
        if self.counting is None:
            each = [replace(self.action, process_id=name) for name in changed]
            await write_actions(connection, each, is_logged=self.is_logged)
            return
        count = {self.counting: self.before + len(changed)}
        row = replace(self.action, fields={**self.action.fields, **count}).row(
            is_logged=self.is_logged
        )
        same = (
            _A.at == row["at"],
            _A.actor == row["actor"],
            _A.action == row["action"],
            _A.process_id.is_(None),
        )
        newer = {"fields": row["fields"], "is_logged": row["is_logged"]}
        done = await connection.execute(update(actions).where(*same).values(newer))
        if not done.rowcount:
            await connection.execute(insert(actions), [row])


class Actions:
    """The actions in one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @retried
    async def write(self, done: Sequence[Action], *, is_logged: bool) -> None:
        """Write rows. ``is_logged``: whether the writer logs them itself."""
        async with self._database.write() as connection:
            await write_actions(connection, done, is_logged=is_logged)

    async def page(
        self, *, since: int | None, limit: int, cursor: str | None
    ) -> tuple[list[Action], str | None]:
        """Return one page of actions at or after ``since``, the newest first."""
        query = select(actions).order_by(_A.at.desc(), _A.id.desc()).limit(limit + 1)
        if since is not None:
            query = query.where(_A.at >= since)
        if cursor is not None:
            at, number = _position_in(cursor)
            place = tuple_(bindparam("before", at, Millis), bindparam("number", number, Serial))
            query = query.where(tuple_(_A.at, _A.id) < place)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        found = [_action(row) for row in rows[:limit]]
        if len(rows) <= limit:
            return found, None
        return found, cursor_of(rows[limit - 1].at, str(rows[limit - 1].id))

    async def take_unlogged(self, most: int) -> list[Action]:
        """Return the oldest actions that nobody has logged, marked as logged.

        Of several daemons each gets others.
        """
        async with self._database.read() as connection:  # mostly none, and no writer is needed
            if (await connection.execute(_UNLOGGED, {"most": 1})).first() is None:
                return []
        return await self._take(most)

    @retried
    async def _take(self, most: int) -> list[Action]:
        async with self._database.write() as connection:
            query = _UNLOGGED.with_for_update(skip_locked=True)
            rows = (await connection.execute(query, {"most": most})).all()
            chosen = _A.id.in_([row.id for row in rows])
            await connection.execute(update(actions).where(chosen).values(is_logged=True))
        return [_action(row) for row in rows]


async def write_actions(
    connection: AsyncConnection, done: Sequence[Action], *, is_logged: bool
) -> None:
    """Insert rows, possibly none, in the caller's transaction."""
    if done:
        rows = [each.row(is_logged=is_logged) for each in done]
        await connection.execute(insert(actions), rows)


async def forget_process(connection: AsyncConnection, key: str) -> int:
    """Take the id of a process out of all rows, in the caller's transaction; return how many."""
    nameless = {"process_id": None, "spelling": None}
    done = await connection.execute(update(actions).where(_A.process_id == key).values(nameless))
    return done.rowcount


def _position_in(cursor: str) -> tuple[int, int]:
    at, key = position_in(cursor)
    if not key.isascii() or not key.isdigit() or len(key) > 18:
        raise BadCursorError("cursor: not one that this API has given out")
    return at, int(key)


def _action(row: Any) -> Action:
    return Action(
        row.at, row.actor, row.action, row.spelling or row.process_id, orjson.loads(row.fields)
    )
