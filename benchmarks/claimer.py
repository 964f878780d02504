"""``python -m benchmarks.claimer URL OWNER ROUND``: claims rows as a daemon does.

Waits until the store says that the round has begun, claims until nothing is left, and prints one
line of JSON. It makes no calls.
"""

import asyncio
import sys
import time

import orjson

from benchmarks.children import until
from benchmarks.workspace import now
from reconciler.ledger import Lane, Rules
from reconciler.store.open import open_store

ROUND = "benchmark_round"
"""The key under which the store has the round that has begun."""

CLAIM = 16
"""Rows in one claim: as many as there are slots, where ``assure.max_concurrency`` is not set."""

HOUR = 3_600_000


async def claim(url: str, owner: str, round_: str) -> dict[str, float]:
    """Claim what is overdue; return how many rows, and from when to when."""
    store = await open_store(url, is_daemon=True)
    claimed = 0
    try:
        print('{"is_waiting":true}', flush=True)

        async def has_begun() -> bool:
            return await store.key_values.get(ROUND) == round_

        await until(has_begun, every=0.01)
        begun = time.monotonic()
        while found := await store.work.claim(
            (Lane.OVERDUE,), CLAIM, owner=owner, rules=Rules(), now=now(), length=HOUR
        ):
            claimed += len(found)
        return {"claimed": claimed, "begun": begun, "ended": time.monotonic()}
    finally:
        await store.database.close()


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(asyncio.run(claim(*sys.argv[1:4]))) + b"\n")
