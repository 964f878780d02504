"""When each process ended, with the index by which results are polled; statuses in no list."""

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
    op.create_index(
        "ix_processes_endings",
        "processes",
        ["ended_at", "process_id"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NOT NULL"),
        postgresql_where=sa.text("ended_at IS NOT NULL"),
    )
