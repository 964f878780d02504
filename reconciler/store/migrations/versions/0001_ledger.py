"""The ledger, its inbox, outbox and timeline, and the instances."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")
WORD = sa.String(32).with_variant(sa.String(32, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "callbacks",
        sa.Column("receipt_id", WORD, nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("process_id", ID, nullable=False),
        sa.Column("dossier_id", ID, nullable=False),
        sa.Column("status", ID, nullable=False),
        sa.Column("extra", sa.Text(), nullable=True),
        sa.Column("body_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("outcome", WORD, nullable=True),
        sa.PrimaryKeyConstraint("receipt_id"),
    )
    op.create_index("ix_callbacks_process", "callbacks", ["process_id"], unique=False)
    op.create_index("ix_callbacks_received", "callbacks", ["received_at"], unique=False)
    op.create_index(
        "ix_callbacks_unapplied",
        "callbacks",
        ["received_at"],
        unique=False,
        sqlite_where=sa.text("outcome IS NULL"),
        postgresql_where=sa.text("outcome IS NULL"),
    )
    op.create_table(
        "deliveries",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("webhook_id", ID, nullable=False),
        sa.Column("process_id", ID, nullable=False),
        sa.Column("type", WORD, nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("pending_since", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.BigInteger(), nullable=True),
        sa.Column("last_error", WORD, nullable=True),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True),
        sa.Column("lease_owner", WORD, nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("webhook_id"),
    )
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["next_attempt_at"],
        unique=False,
        sqlite_where=sa.text("next_attempt_at IS NOT NULL"),
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.create_index("ix_deliveries_process", "deliveries", ["process_id", "id"], unique=False)
    op.create_index("ix_deliveries_state", "deliveries", ["state", "id"], unique=False)
    op.create_table(
        "facts",
        sa.Column("name", WORD, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "instances",
        sa.Column("instance_id", WORD, nullable=False),
        sa.Column("host", ID, nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", WORD, nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=False),
        sa.Column("last_sweep_at", sa.BigInteger(), nullable=True),
        sa.Column("breaker", WORD, nullable=False),
        sa.Column("spooled", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id"),
    )
    op.create_table(
        "processes",
        sa.Column("process_id", ID, nullable=False),
        sa.Column("dossier_id", ID, nullable=False),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("timeout_from", sa.BigInteger(), nullable=False),
        sa.Column("provider", ID, nullable=True),
        sa.Column("process_type", ID, nullable=True),
        sa.Column("reference", ID, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=True),
        sa.Column("adopted", sa.Boolean(), nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("state_since", sa.BigInteger(), nullable=False),
        sa.Column("status", ID, nullable=True),
        sa.Column("settled_by", WORD, nullable=True),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("callback_at", sa.BigInteger(), nullable=True),
        sa.Column("claimed_status", ID, nullable=True),
        sa.Column("claimed_by", WORD, nullable=True),
        sa.Column("last_receipt", WORD, nullable=True),
        sa.Column("duplicates", sa.Integer(), nullable=False),
        sa.Column("lane", sa.Integer(), nullable=True),
        sa.Column("next_check_at", sa.BigInteger(), nullable=True),
        sa.Column("scheduled_at", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("rung", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("lags", sa.Integer(), nullable=False),
        sa.Column("pending_seen", sa.Boolean(), nullable=False),
        sa.Column("missing_at", sa.BigInteger(), nullable=True),
        sa.Column("notified_at", sa.BigInteger(), nullable=True),
        sa.Column("asked", WORD, nullable=True),
        sa.Column("verify_since", sa.BigInteger(), nullable=True),
        sa.Column("catch_up", sa.Boolean(), nullable=False),
        sa.Column("notify_attempts", sa.Integer(), nullable=False),
        sa.Column("fetch_attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", WORD, nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_owner", WORD, nullable=True),
        sa.Column("lease_verb", WORD, nullable=True),
        sa.Column("lease_begun_at", sa.BigInteger(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("process_id"),
    )
    op.create_index(
        "ix_processes_due",
        "processes",
        ["lane", "next_check_at"],
        unique=False,
        sqlite_where=sa.text("next_check_at IS NOT NULL"),
        postgresql_where=sa.text("next_check_at IS NOT NULL"),
    )
    op.create_index(
        "ix_processes_late",
        "processes",
        ["state", "state_since"],
        unique=False,
        sqlite_where=sa.text("state IN ('overdue', 'reported')"),
        postgresql_where=sa.text("state IN ('overdue', 'reported')"),
    )
    op.create_index(
        "ix_processes_listing", "processes", ["registered_at", "process_id"], unique=False
    )
    op.create_index(
        "ix_processes_settled",
        "processes",
        ["settled_at", "process_id"],
        unique=False,
        sqlite_where=sa.text("settled_at IS NOT NULL"),
        postgresql_where=sa.text("settled_at IS NOT NULL"),
    )
    op.create_index(
        "ix_processes_state", "processes", ["state", "registered_at", "process_id"], unique=False
    )
    op.create_table(
        "timeline",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("process_id", ID, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("event", WORD, nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_timeline_process", "timeline", ["process_id", "id"], unique=False)
