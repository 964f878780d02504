"""Limits of the listener and the intake that are no setting."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Times are seconds. Assure waits 10 s for its answer."""

    most_connections: int = 1_000
    """Connections open at once; further ones wait in the kernel."""
    request_timeout: float = 10.0
    """From the first byte (or the connection) to the last byte of a request."""
    store_timeout: float = 3.0
    """From its arrival until a callback is spooled because it is not committed."""
    spool_timeout: float = 4.0
    """For the spool after that."""
    drain_interval: float = 1.0
    """Between two attempts to drain the spool."""
    stop_linger: float = 0.25
    """In which a connection that was accepted just before the stop may send its request."""
    answering: float = 8.0
    """For our own part of a request: store, spool and some reserve."""
    shutdown: float = 4.0
    """For aiohttp to close the connections that are left."""


LIMITS = Limits()
"""The limits of a daemon; tests have shorter ones."""
