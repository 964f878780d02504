"""Finds out whether a daemon runs where none has renewed its row in the store.

A daemon whose disk is full, or whose store is locked, runs all the same. It holds the lock of the
SQLite file, and its admin listener answers.
"""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from reconciler.config import ListenAddress, Settings
from reconciler.store.open import daemon_lock

LIMIT = 2.0
"""Seconds that a daemon may take to answer."""

LARGEST = 64 * 1024
"""Bytes of an answer that are read."""


def without_row(settings: Settings, store_url: str) -> str:
    """Return for people what runs here, though the store has no live row."""
    holder = daemon_lock(store_url).holder()
    ready = _ready(settings.admin.listen)
    if holder is None and ready is None:
        return "none is running"
    who = "one" if holder is None else f"process {holder}"
    if ready is None:
        return f"{who} holds the store and does not answer on {settings.admin.listen or 'anything'}"
    told = [*ready.get("degraded", ()), ready.get("reason")]
    why = "; ".join(str(each) for each in told if each)
    if "store: " in why:
        return f"{who} runs, and cannot write to the store: {why}"
    return f"{who} runs, and has not renewed its row in the store{': ' if why else ''}{why}"


def _ready(listen: ListenAddress) -> dict[str, Any] | None:
    """Return the body of ``/ready``; None where nobody answers as a daemon does."""
    if not listen or not (listen.unix or listen.port):
        return None
    connection = _Connection(listen)
    try:
        connection.request("GET", "/ready")
        body = json.loads(connection.getresponse().read(LARGEST))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return body if isinstance(body, dict) and "ready" in body else None


class _Connection(http.client.HTTPConnection):
    """A connection to the admin listener, which may be a unix socket."""

    def __init__(self, listen: ListenAddress) -> None:
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (to ask, not to listen)
        host = anywhere.get(listen.host, listen.host)
        super().__init__(host or "localhost", listen.port or None, timeout=LIMIT)
        self._path = listen.unix

    def connect(self) -> None:
        """Connect to the socket, or as usual."""
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(LIMIT)
        self.sock.connect(str(Path(self._path)))
