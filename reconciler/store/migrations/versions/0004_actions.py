"""The table of what people did; entries of the timeline that concern no process move there."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ID = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")
WORD = sa.String(32).with_variant(sa.String(32, collation="C"), "postgresql")


def upgrade() -> None:
    actions = op.create_table(
        "actions",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", ID, nullable=False),
        sa.Column("action", WORD, nullable=False),
        sa.Column("process_id", ID, nullable=True),
        sa.Column("spelling", ID, nullable=True),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("is_logged", sa.Boolean(create_constraint=False), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    assert actions is not None
    op.create_index("ix_actions_at", "actions", ["at", "id"], unique=False)
    op.create_index("ix_actions_action", "actions", ["action", "id"], unique=False)
    op.create_index("ix_actions_process", "actions", ["process_id"], unique=False)
    op.create_index(
        "ix_actions_unlogged",
        "actions",
        ["id"],
        unique=False,
        sqlite_where=sa.text("NOT is_logged"),
        postgresql_where=sa.text("NOT is_logged"),
    )
    connection = op.get_bind()
    of_nobody = sa.text(
        "SELECT at, fields FROM timeline WHERE process_id = '' AND event = 'operator_action'"
        " ORDER BY id"
    )
    rows = [_row(at, json.loads(fields)) for at, fields in connection.execute(of_nobody).all()]
    if rows:
        connection.execute(sa.insert(actions), rows)
    op.execute("DELETE FROM timeline WHERE process_id = '' AND event = 'operator_action'")


def _row(at: int, fields: dict[str, str]) -> dict[str, object]:
    return {
        "at": at,
        "actor": fields.get("by", "unknown"),
        "action": fields.get("action", "unknown"),
        "process_id": None,
        "spelling": None,
        "fields": "{}",
        "is_logged": True,
    }
