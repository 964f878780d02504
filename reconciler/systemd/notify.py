"""Tells the service manager the state of the daemon: sd_notify(3), in pure Python.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import os
import socket
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress

VARIABLES = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
)
"""The variables by which the service manager speaks to this process alone."""


def forget(environ: MutableMapping[str, str]) -> None:
    """Remove the service manager's variables from ``environ``: they are not for children."""
    for name in VARIABLES:
        environ.pop(name, None)


class Notifier:
    """Sends states to the service manager; does nothing where there is none.

    Sending never blocks and never fails: a manager that does not read must not stop the work.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        """``environ`` may have NOTIFY_SOCKET (a path or an abstract name) and WATCHDOG_USEC."""
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self.watchdog_timeout = _watchdog_timeout(environ) if path else None
        """Seconds without a ping after which the manager kills us; None: it does not watch."""
        self.is_stopping = False
        """Whether the stop has begun."""

    def ready(self) -> None:
        """Tell that the start or a reload is done; after the stop has begun this says nothing."""
        if not self.is_stopping:
            self._send("READY=1")

    def reloading(self) -> None:
        """Tell that a reload has begun; ``ready`` must follow, whatever comes of it."""
        # In one datagram with the time: that is what Type=notify-reload asks for.
        self._send(
            f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"
        )

    @contextmanager
    def around_reload(self) -> Iterator[None]:
        """Tell that a reload lasts as long as the block."""
        self.reloading()
        try:
            yield
        finally:
            self.ready()

    def stopping(self) -> None:
        """Tell that the stop has begun."""
        self.is_stopping = True
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """Tell that all is alive."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Set the one line that ``systemctl status`` shows."""
        self._send(f"STATUS={' '.join(text.split())}")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # OSError: nobody reads, or the queue is full; ValueError: the path is too long.
        with (
            suppress(OSError, ValueError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.sendto(message.encode(), socket.MSG_DONTWAIT, self._address)


def _watchdog_timeout(environ: Mapping[str, str]) -> float | None:
    if environ.get("WATCHDOG_PID") not in (None, "", str(os.getpid())):
        return None  # meant for another process
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 1_000_000 if microseconds > 0 else None
