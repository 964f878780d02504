"""The clock of a daemon: wall time, monotonic time and sleep in one object that tests can play.

The reasons: docs/decisions/012.
"""

import asyncio
import time


class Clock:
    """This machine's clocks."""

    def now(self) -> int:
        """Return the time in UTC milliseconds. It can jump, in either direction."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds from an unknown start. They never run backwards."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` of the monotonic clock."""
        await asyncio.sleep(seconds)


def age(since: int | None, now: int) -> float | None:
    """Return the seconds from ``since`` to ``now`` (UTC milliseconds), 0 for a later ``since``."""
    return None if since is None else max(0, now - since) / 1000
