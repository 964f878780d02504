"""What the store needs of a database."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from sqlalchemy import Column
from sqlalchemy.ext.asyncio import AsyncConnection


class Database(Protocol):
    """One database: transactions for writing and reading. Failures are StoreErrors.

    A cancelled task leaves no transaction open; its statement under way is ended first.
    """

    @property
    def dialect(self) -> str:
        """SQLAlchemy's name of the dialect."""
        ...

    def write(self, *, urgent: bool = False) -> AbstractAsyncContextManager[AsyncConnection]:
        """One transaction, committed at the end of the block. Keep it under 50 ms."""
        ...

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """One consistent look at the last committed state."""
        ...

    async def insert_new(
        self, columns: Sequence[Column[Any]], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """One urgent transaction, durable when this returns: insert ``rows`` of these columns.

        Rows whose key is there already are passed over. Give them in the order of their keys.
        """
        ...

    async def durability(self) -> dict[str, str | bool]:
        """Return what the database says about durability, for the boot log."""
        ...

    def mark_prepared(self) -> None:
        """Let transactions in, where the schema could not be seen to before."""
        ...

    async def close(self) -> None:
        """Give all connections back."""
        ...
