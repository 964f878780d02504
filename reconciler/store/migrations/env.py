"""Alembic's entry: migrates in the transaction that migrate.py has begun."""

from alembic import context

from reconciler.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
