"""A transaction that is cancelled is done or not begun, on both databases."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import insert

from reconciler.store.open import Store
from reconciler.store.schema import facts

Look = Callable[..., list[tuple[Any, ...]]]


async def test_at_whatever_step_a_write_is_cancelled_it_is_done_or_not_begun(
    store: Store, look: Look
) -> None:
    """Cancel one iteration of the loop later each time, from BEGIN to COMMIT."""

    async def write(number: int) -> None:
        async with store.database.write() as connection:
            for half in ("a", "b"):
                row = {"name": f"{half}{number}", "value": "x"}
                await connection.execute(insert(facts), row)

    for steps in range(60):
        task = asyncio.create_task(write(steps))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await store.key_values.put("last", str(steps))
    halves = "SELECT count(*) FROM facts WHERE name <> 'last' GROUP BY substr(name, 2)"
    assert set(look(halves)) <= {(2,)}
    assert look("SELECT value FROM facts WHERE name = 'last'") == [("59",)]
