"""Describes the client of your application, and opens its connections."""

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from reconciler.delivery.attempt import RetryPolicy, Sender
from reconciler.delivery.signing import Signer
from reconciler.outbound.breaker import Breaker
from reconciler.outbound.session import build_session
from reconciler.outbound.transport import Transport
from reconciler.runtime.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryClient:
    """One way of delivering. It holds no connection until it is used."""

    url: str
    tls: ssl.SSLContext
    signer: Signer
    retry: RetryPolicy
    breaker: Breaker
    """Of this application; it outlives the connections."""
    timeout: int
    """Milliseconds for one whole exchange."""
    max_concurrency: int
    proxy: str = field(default="", repr=False)
    """URL of an egress proxy, perhaps with user and password; empty for none."""

    @property
    def lease_length(self) -> int:
        """How long a delivery is leased, in ms: an attempt begins in the first half of it."""
        return 4 * self.timeout

    @asynccontextmanager
    async def connected(self, clock: Clock, log: FilteringBoundLogger) -> AsyncIterator[Sender]:
        """Open connections for the length of the block."""
        async with build_session(self.tls, self.max_concurrency) as session:
            transport = Transport(
                session, log, clock=clock, timeout=self.timeout / 1000, proxy=self.proxy
            )
            yield Sender(
                self.url,
                transport,
                self.signer,
                retry=self.retry,
                breaker=self.breaker,
                clock=clock,
                log=log,
            )


def build_delivery_client(
    url: str,
    tls: ssl.SSLContext,
    *,
    secrets: Sequence[str],
    headers: Mapping[str, str],
    retry: RetryPolicy,
    timeout: int,
    max_concurrency: int,
    proxy: str,
    clock: Clock,
    log: FilteringBoundLogger,
) -> DeliveryClient:
    """Return a client for ``url``. Opens nothing. Raises ValueError where a secret is no base64."""
    return DeliveryClient(
        url=url,
        tls=tls,
        signer=Signer(secrets, headers),
        retry=retry,
        breaker=Breaker(clock=clock, log=log.bind(target="delivery")),
        timeout=timeout,
        max_concurrency=max_concurrency,
        proxy=proxy,
    )
