"""The interface of the two databases.

The reasons: docs/decisions/005.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from sqlalchemy import Column
from sqlalchemy.ext.asyncio import AsyncConnection


class Database(Protocol):
    """One database: transactions that write, and transactions that read. Raises StoreErrors.

    A cancelled task leaves no transaction open; its running statement ends first.
    """

    @property
    def dialect(self) -> str:
        """SQLAlchemy's name of the dialect."""
        ...

    def write(self, *, urgent: bool = False) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a transaction, committed at the end of the block. Keep it under 50 ms."""
        ...

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a transaction that reads one consistent state."""
        ...

    async def insert_new(
        self, columns: Sequence[Column[Any]], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert ``rows`` of these columns in one urgent transaction; durable when it returns.

        Rows whose key exists are skipped. Give them in the order of their keys.
        """
        ...

    async def durability(self) -> dict[str, str | bool]:
        """Return the database's settings of durability, for the boot log."""
        ...

    async def check_identity(self) -> None:
        """Raise StoreUnavailableError where the database is no longer the one that was opened."""
        ...

    async def check_room(self) -> None:
        """Raise StoreUnavailableError where the next writes would fill the disk."""
        ...

    def mark_prepared(self) -> None:
        """Allow transactions: the schema has been prepared."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
