"""When each process ended, with the index by which results are polled."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("processes", sa.Column("ended_at", sa.BigInteger(), nullable=True))
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
