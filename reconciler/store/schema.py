"""The tables, the same for both databases. Times are UTC milliseconds."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData()

# ``process_id`` is the key in every table: a UUID in lower case. ``spelling`` is the id as it came,
# where that differs.

# In "C" PostgreSQL orders by bytes, as SQLite and Python do: so keys are locked in the order in
# which we sort them, pages continue where they ended, and new locales corrupt no index.
Id = String(255).with_variant(String(255, collation="C"), "postgresql")
Word = String(32).with_variant(String(32, collation="C"), "postgresql")
Millis = BigInteger
Serial = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER gets a rowid in SQLite

processes = Table(
    "processes",
    metadata,
    Column("process_id", Id, primary_key=True),
    Column("dossier_id", Id, nullable=False),
    Column("registered_at", Millis, nullable=False),
    Column("timeout_from", Millis, nullable=False),
    Column("provider", Id),
    Column("process_type", Id),
    Column("reference", Id),
    Column("created_at", Millis),
    Column("adopted", Boolean(create_constraint=False), nullable=False),
    Column("state", Word, nullable=False),
    Column("state_since", Millis, nullable=False),
    Column("status", Id),
    Column("settled_by", Word),
    Column("settled_at", Millis),
    Column("revision", Integer, nullable=False),
    Column("callback_at", Millis),
    Column("claimed_status", Id),
    Column("claimed_by", Word),
    Column("last_receipt", Word),
    Column("duplicates", Integer, nullable=False),
    Column("lane", Integer),
    Column("next_check_at", Millis),
    Column("scheduled_at", Millis, nullable=False),
    Column("round", Integer, nullable=False),
    Column("rung", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("lags", Integer, nullable=False),
    Column("pending_seen", Boolean(create_constraint=False), nullable=False),
    Column("missing_at", Millis),
    Column("notified_at", Millis),
    Column("asked", Word),
    Column("verify_since", Millis),
    Column("catch_up", Boolean(create_constraint=False), nullable=False),
    Column("notify_attempts", Integer, nullable=False),
    Column("fetch_attempts", Integer, nullable=False),
    Column("last_error", Word),
    Column("attempt", Integer, nullable=False),
    Column("lease_owner", Word),
    Column("lease_verb", Word),
    Column("lease_begun_at", Millis),
    Column("lease_until", Millis),
    Column("ended_at", Millis),
    Column("unknown_status", Id),
    Column("unknown_since", Millis),
    Column("unknown_looks", Integer, nullable=False, server_default="0"),
    Column("recent_calls", Text),
    Column("spelling", Id),
)
"""The ledger: one row a process, with every field of ``TrackedProcess``, its lane and its end."""

_OPEN_ENDED = text("next_check_at IS NOT NULL")
Index(
    "ix_processes_due",
    processes.c.lane,
    processes.c.next_check_at,
    sqlite_where=_OPEN_ENDED,
    postgresql_where=_OPEN_ENDED,
)
LATE = text("state IN ('overdue', 'reported')")
"""Repeated in queries, or SQLite does not see that this index fits."""
Index(
    "ix_processes_late",
    processes.c.state,
    processes.c.state_since,
    sqlite_where=LATE,
    postgresql_where=LATE,
)
Index("ix_processes_state", processes.c.state, processes.c.registered_at, processes.c.process_id)
Index("ix_processes_listing", processes.c.registered_at, processes.c.process_id)
_SETTLED = text("settled_at IS NOT NULL")
Index(
    "ix_processes_settled",
    processes.c.settled_at,
    processes.c.process_id,
    sqlite_where=_SETTLED,
    postgresql_where=_SETTLED,
)

ENDED = text("state NOT IN ('waiting', 'reported', 'overdue')")
"""Repeated in queries, as LATE is. With IN, SQLite would choose the index on ``state`` and sort all
that have ever ended."""
Index(
    "ix_processes_ended",
    processes.c.state_since,
    processes.c.process_id,
    sqlite_where=ENDED,
    postgresql_where=ENDED,
)

_HAS_ENDED = text("ended_at IS NOT NULL")
Index(
    "ix_processes_endings",
    processes.c.ended_at,
    processes.c.process_id,
    sqlite_where=_HAS_ENDED,
    postgresql_where=_HAS_ENDED,
)

callbacks = Table(
    "callbacks",
    metadata,
    Column("receipt_id", Word, primary_key=True),
    Column("received_at", Millis, nullable=False),
    Column("process_id", Id, nullable=False),
    Column("dossier_id", Id, nullable=False),
    Column("status", Id, nullable=False),
    Column("extra", Text),
    Column("body_sha256", LargeBinary(32), nullable=False),
    Column("outcome", Word),
    Column("spelling", Id),
)
"""The inbox. ``outcome`` is null until the callback has been applied; ``extra`` holds the names
(never the values) of unexpected members, as a JSON array."""

_UNAPPLIED = text("outcome IS NULL")
Index(
    "ix_callbacks_unapplied",
    callbacks.c.received_at,
    sqlite_where=_UNAPPLIED,
    postgresql_where=_UNAPPLIED,
)
Index("ix_callbacks_process", callbacks.c.process_id)
Index("ix_callbacks_received", callbacks.c.received_at)

timeline = Table(
    "timeline",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("process_id", Id, nullable=False),
    Column("at", Millis, nullable=False),
    Column("event", Word, nullable=False),
    Column("fields", Text, nullable=False),
)
"""The history of each process, in order. ``process_id`` is empty where none is concerned."""

Index("ix_timeline_process", timeline.c.process_id, timeline.c.id)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("webhook_id", Id, nullable=False, unique=True),
    Column("process_id", Id, nullable=False),
    Column("type", Word, nullable=False),
    Column("payload", Text, nullable=False),
    Column("created_at", Millis, nullable=False),
    Column("state", Word, nullable=False),
    Column("pending_since", Millis, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", Millis),
    Column("last_error", Word),
    Column("delivered_at", Millis),
    Column("lease_owner", Word),
    Column("lease_until", Millis),
    Column("scheduled_at", Millis, nullable=False, server_default="0"),
)
"""The outbox: results for the user's application, written with the transition that made them.
``scheduled_at``: when the next attempt or the lease was decided."""

_PENDING = text("next_attempt_at IS NOT NULL")
Index(
    "ix_deliveries_due",
    deliveries.c.next_attempt_at,
    sqlite_where=_PENDING,
    postgresql_where=_PENDING,
)
Index("ix_deliveries_process", deliveries.c.process_id, deliveries.c.id)
Index("ix_deliveries_state", deliveries.c.state, deliveries.c.id)

actions = Table(
    "actions",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at", Millis, nullable=False),
    Column("actor", Id, nullable=False),
    Column("action", Word, nullable=False),
    Column("process_id", Id),
    Column("spelling", Id),
    Column("fields", Text, nullable=False),
    Column("is_logged", Boolean(create_constraint=False), nullable=False),
)
"""The actions of people. ``process_id`` is null where several or none are concerned, and after a
``forget``. ``is_logged`` tells whether a daemon has logged it."""

Index("ix_actions_at", actions.c.at, actions.c.id)
Index("ix_actions_action", actions.c.action, actions.c.id)
Index("ix_actions_process", actions.c.process_id)
_UNLOGGED = text("NOT is_logged")
Index(
    "ix_actions_unlogged",
    actions.c.id,
    sqlite_where=_UNLOGGED,
    postgresql_where=_UNLOGGED,
)

instances = Table(
    "instances",
    metadata,
    Column("instance_id", Word, primary_key=True),
    Column("host", Id, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Word, nullable=False),
    Column("started_at", Millis, nullable=False),
    Column("heartbeat_at", Millis, nullable=False),
    Column("last_sweep_at", Millis),
    Column("breaker", Word, nullable=False),
    Column("spooled", Integer, nullable=False),
    Column("requests_per_second", Float),
)
"""The live daemons, with the state of each at its last heartbeat."""

facts = Table(
    "facts",
    metadata,
    Column("name", Word, primary_key=True),
    Column("value", Text, nullable=False),
)
"""Single values by name, such as the time of the last heartbeat of any instance."""
