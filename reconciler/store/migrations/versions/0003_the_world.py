"""When each process ended, its calls of the last hour, words in no list; UUIDs without case.

Two rows whose ids differ in letter case only become one. The row that knows most stays: settled,
then reported, overdue, waiting, expired, gone. It takes over what a registration said. Timelines,
callbacks and deliveries of both stay. Where both are settled differently, a verification is owed.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

ID = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("processes", sa.Column("ended_at", sa.BigInteger(), nullable=True))
    op.add_column("processes", sa.Column("unknown_status", ID, nullable=True))
    op.add_column("processes", sa.Column("unknown_since", sa.BigInteger(), nullable=True))
    op.add_column(
        "processes",
        sa.Column("unknown_looks", sa.Integer(), nullable=False, server_default="0"),
    )
    op.add_column("processes", sa.Column("recent_calls", sa.Text(), nullable=True))
    op.execute(
        "UPDATE processes SET ended_at = coalesce(settled_at, state_since)"
        " WHERE state NOT IN ('waiting', 'reported', 'overdue')"
    )
    op.add_column("processes", sa.Column("spelling", ID, nullable=True))
    op.add_column("callbacks", sa.Column("spelling", ID, nullable=True))
    _join_spellings(op.get_bind())
    op.create_index(
        "ix_processes_endings",
        "processes",
        ["ended_at", "process_id"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NOT NULL"),
        postgresql_where=sa.text("ended_at IS NOT NULL"),
    )


UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
RANK = ("settled", "reported", "overdue", "waiting", "expired", "gone")
REGISTERED = ("provider", "process_type", "reference", "created_at")


def _key(text: str) -> str:
    return text.lower() if text.isascii() and UUID.fullmatch(text.lower()) else text


def _join_spellings(connection: sa.Connection) -> None:
    table = sa.text(
        "SELECT * FROM processes WHERE process_id <> lower(process_id)"
        " OR process_id IN (SELECT lower(process_id) FROM processes"
        " WHERE process_id <> lower(process_id)) ORDER BY process_id"
    )
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in connection.execute(table).mappings():
        groups.setdefault(_key(row["process_id"]), []).append(dict(row))
    for key, rows in groups.items():
        if any(row["process_id"] != key for row in rows):
            _join(connection, key, rows)
    for name in ("callbacks", "timeline", "deliveries"):
        spelled = sa.text(
            f"SELECT DISTINCT process_id FROM {name} WHERE process_id <> lower(process_id)"  # noqa: S608 (constants)
        )
        kept = ", spelling = :old" if name == "callbacks" else ""
        renamed = sa.text(f"UPDATE {name} SET process_id = :key{kept} WHERE process_id = :old")  # noqa: S608
        for old in _capitals(connection.execute(spelled).scalars().all()):
            connection.execute(renamed, {"key": _key(old), "old": old})


def _capitals(ids: Iterable[str]) -> list[str]:
    return [each for each in ids if _key(each) != each]


def _join(connection: sa.Connection, key: str, rows: list[dict[str, Any]]) -> None:
    rows.sort(key=lambda row: (RANK.index(row["state"]), row["adopted"], row["registered_at"]))
    stays, *others = rows
    registered = [row for row in rows if not row["adopted"]]
    registered.sort(key=lambda row: row["registered_at"])
    changes: dict[str, Any] = {"process_id": key, "spelling": stays["process_id"]}
    if registered:
        first = registered[0]
        changes |= {
            "spelling": first["process_id"],
            "dossier_id": first["dossier_id"],
            "adopted": False,
            "registered_at": first["registered_at"],
            "timeout_from": first["timeout_from"],
        }
        for name in REGISTERED:
            changes[name] = first[name] if first[name] is not None else stays[name]
    if changes["spelling"] == key:
        changes["spelling"] = None
    differ = [
        row
        for row in others
        if row["state"] == "settled" and row["status"].lower() != stays["status"].lower()
    ]
    if differ:
        at = max(row["settled_at"] for row in rows if row["settled_at"] is not None)
        changes |= {"verify_since": at, "next_check_at": at, "lane": 0}
    # First, for the key may be that of one of them.
    for row in others:
        connection.execute(
            sa.text("DELETE FROM processes WHERE process_id = :old"), {"old": row["process_id"]}
        )
        fields = {"by": "migration", "field": "processId", "was": row["process_id"]}
        if row["status"] is not None:
            fields["status"] = row["status"]
        connection.execute(
            sa.text(
                "INSERT INTO timeline (process_id, at, event, fields)"
                " VALUES (:key, :at, 'process_updated', :fields)"
            ),
            {"key": key, "at": row["state_since"], "fields": json.dumps(fields)},
        )
    assignments = ", ".join(f"{name} = :{name}" for name in changes)
    connection.execute(
        sa.text(f"UPDATE processes SET {assignments} WHERE process_id = :old"),  # noqa: S608
        {**changes, "old": stays["process_id"]},
    )
