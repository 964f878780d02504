"""Retries a transaction after a conflict with another daemon's.

The reasons: docs/decisions/010.
"""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from reconciler.store.errors import StoreConflictError

P = ParamSpec("P")
T = TypeVar("T")

TRIES = 5
"""Attempts at a transaction. Each deadlock lets one of its transactions through."""


def retried(
    transaction: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Decorate ``transaction`` to be retried after a deadlock or a duplicate key.

    It must be a single transaction, so that a failed attempt has changed nothing.
    """

    @wraps(transaction)
    async def tried(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(TRIES - 1):
            with suppress(StoreConflictError):
                return await transaction(*args, **kwargs)
        return await transaction(*args, **kwargs)

    return tried
