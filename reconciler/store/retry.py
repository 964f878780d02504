"""Doing a transaction again where that of another daemon was in its way."""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from reconciler.store.errors import StoreConflictError

P = ParamSpec("P")
T = TypeVar("T")

TRIES = 5
"""Times that a transaction is tried. Each deadlock lets one of those in it through."""


def retried(
    transaction: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make ``transaction`` one that is tried again after a deadlock or a key that came first.

    It must be a single transaction, for then what has failed has changed nothing.
    """

    @wraps(transaction)
    async def tried(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(TRIES - 1):
            with suppress(StoreConflictError):
                return await transaction(*args, **kwargs)
        return await transaction(*args, **kwargs)

    return tried
