"""Limits of this room that nobody configures."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Numbers, and times in seconds. A sender waits 10 s for its answer."""

    most_connections: int = 1_000
    """Open connections; further ones wait in the kernel."""
    request_timeout: float = 10.0
    """From the first byte (or the connection) to the last byte of a request."""
    store_timeout: float = 3.0
    """After its arrival within which a callback must be committed; then it is spooled."""
    spool_timeout: float = 4.0
    """That the spool may take after that."""
    drain_interval: float = 1.0
    """Between looks whether something is in the spool, and the store takes it."""
    stop_linger: float = 0.25
    """In which a connection accepted just before the stop may still send its request."""
    answering: float = 8.0
    """That our own part of a request can take: the store's time, the spool's and some."""
    shutdown: float = 4.0
    """That aiohttp may take to close what is left."""


LIMITS = Limits()
"""Those of a daemon; tests have shorter ones."""
