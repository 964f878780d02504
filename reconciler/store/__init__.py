"""The store: ledger, inbox, outbox and timeline, in SQLite or PostgreSQL."""
