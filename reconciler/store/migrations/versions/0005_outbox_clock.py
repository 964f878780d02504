"""When the next attempt of a delivery was decided, so that a clock put back can be noticed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    column = sa.Column("scheduled_at", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column("deliveries", column)
