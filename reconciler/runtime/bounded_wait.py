"""A bounded wait that does not cancel what it waits for."""

import asyncio
from typing import Any, TypeVar

T = TypeVar("T")


async def wait_at_most(task: asyncio.Future[T], seconds: float) -> T:
    """Return the result of ``task``, or raise TimeoutError after ``seconds``.

    The task goes on: to cancel it could cut a commit in two. A failure that comes after the wait,
    or after the waiter was cancelled, is marked as seen.
    """
    task.add_done_callback(_seen)
    done, _ = await asyncio.wait({task}, timeout=max(seconds, 0.0))
    if not done:
        raise TimeoutError
    return task.result()


def _seen(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()
