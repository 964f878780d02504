"""The dead-man ping, and bells for parts that do not wait for one."""

from collections.abc import Awaitable, Callable

from structlog.typing import FilteringBoundLogger

from reconciler.admin.health import Readiness
from reconciler.config import Secrets, Settings
from reconciler.outbound.ping import Ping
from reconciler.outbound.session import build_session, trusting
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock


class CallingBell(Bell):
    """A bell for a part that does not wait for one: each ring calls it."""

    def __init__(self, name: str, call: Callable[[], None]) -> None:
        super().__init__(name)
        self._call = call

    def ring(self) -> None:
        """Call the part."""
        self._call()


def ping_of(
    settings: Settings,
    secrets: Secrets,
    *,
    clock: Clock,
    log: FilteringBoundLogger,
) -> Ping | None:
    """Return the dead-man ping, if there is one. Must be called on a running loop."""
    if settings.heartbeat is None or not secrets.heartbeat_url:
        return None
    return Ping(
        secrets.heartbeat_url,
        build_session(trusting(""), 1),
        interval=settings.heartbeat.interval / 1000,
        clock=clock,
        log=log,
    )


async def ping_if_well(
    ping: Ping | None,
    stale_loops: Callable[[], list[str]],
    readiness: Callable[[], Awaitable[Readiness]],
) -> None:
    """Ping after a summary: if every loop ticks and a callback would be answered 200."""
    if ping is not None and not stale_loops() and (await readiness()).is_ready:
        ping.send()
