"""Delivers with the client in force, one client after the other; a reload loses nothing."""

import asyncio

from structlog.typing import FilteringBoundLogger

from reconciler.delivery.client import DeliveryClient
from reconciler.delivery.worker import OutboxWorker
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.outbox import Outbox


class Deliverer:
    """Empties the outbox while there is somebody to deliver to."""

    def __init__(
        self,
        outbox: Outbox,
        client: Current[DeliveryClient | None],
        *,
        news: Bell,
        owner: str,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        """``news`` is rung when something may be due, and when ``client`` has been replaced.

        ``owner``: in whose name deliveries are leased.
        """
        self._outbox = outbox
        self._client = client
        self._news = news
        self._owner = owner
        self._clock = clock
        self._log = log.bind(target="delivery")
        self._is_stopping = False

    async def run(self) -> None:
        """Deliver until ``stop``. If it fails it can be run again.

        With a client that has been replaced nothing more is begun; what it has sent is written
        down before the next one takes over.
        """
        while not self._is_stopping:
            client = self._client.value
            if client is None:
                await self._news.wait()
                continue
            async with client.connected(self._clock, self._log) as sender:
                worker = OutboxWorker(
                    self._outbox,
                    client,
                    sender,
                    owner=self._owner,
                    clock=self._clock,
                    log=self._log,
                )
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(worker.run(), name="outbox worker")
                    tasks.create_task(self._pass_on(client, worker), name="news")

    def stop(self) -> None:
        """Begin nothing more; what is on its way is finished and written down."""
        self._is_stopping = True
        self._news.ring()

    async def _pass_on(self, client: DeliveryClient, worker: OutboxWorker) -> None:
        """Wake the worker at each ring, until its client is no longer the one to use."""
        while not self._is_stopping and self._client.value is client:
            worker.wake()
            await self._news.wait()
        worker.stop()
