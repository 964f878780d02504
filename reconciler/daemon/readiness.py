"""Whether a callback would be kept now, and what is degraded."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from reconciler.admin.health import Readiness
from reconciler.inbound.group_commit import Intake
from reconciler.inbound.listener import Listener
from reconciler.inbound.spool_check import SpoolCheck
from reconciler.outbound.breaker import Breaker
from reconciler.runtime.bounded_wait import wait_at_most
from reconciler.store.errors import StoreError
from reconciler.store.inbox import Inbox

STORE_LIMIT = 3.0
"""Seconds after which a store that has not committed counts as out of order."""


class ReadinessCheck:
    """Proves by a real commit and a real spool file that a callback would be kept."""

    def __init__(
        self,
        inbox: Inbox,
        intake: Intake,
        listener: Listener,
        spool_check: SpoolCheck,
        breaker: Breaker,
    ) -> None:
        self._inbox = inbox
        self._intake = intake
        self._listener = listener
        self._spool_check = spool_check
        self._breaker = breaker
        self.is_stopping = False
        """Set when the stop begins: from then on nothing is ready."""

    async def check(self) -> Readiness:
        """Return what holds now."""
        if self.is_stopping:
            return Readiness(False, reason="stopping")
        state = self._breaker.state
        degraded = [] if state == "closed" else [f"assure: {state}"]
        if self._listener.is_full:
            degraded.append("listener: all places are taken")
        trouble = self._intake.trouble or await _trouble(self._inbox.prove(), STORE_LIMIT)
        if trouble is not None:
            degraded.append(f"store: {trouble}; callbacks go to the spool")
        spool_trouble = await self._spool_check.check()
        if spool_trouble is not None:
            degraded.append(f"spool: does not take callbacks ({spool_trouble})")
        if trouble is None or spool_trouble is None:
            return Readiness(True, tuple(degraded))
        return Readiness(False, tuple(degraded), "neither the store nor the spool takes callbacks")


async def _trouble(proof: Coroutine[Any, Any, None], seconds: float) -> str | None:
    """Return why ``proof`` fails, or None."""
    try:
        await wait_at_most(asyncio.create_task(proof), seconds)
    except TimeoutError:
        return "no answer in time"
    except StoreError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 (whatever it is, it keeps no callback)
        return type(error).__name__
    return None
