"""The rate of each daemon, and the index by which ended processes are found."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("instances", sa.Column("requests_per_second", sa.Float(), nullable=True))
    op.create_index(
        "ix_processes_ended",
        "processes",
        ["state_since", "process_id"],
        unique=False,
        sqlite_where=sa.text("state NOT IN ('waiting', 'reported', 'overdue')"),
        postgresql_where=sa.text("state NOT IN ('waiting', 'reported', 'overdue')"),
    )
