"""The ledger, inbox, outbox and timeline on disk."""
