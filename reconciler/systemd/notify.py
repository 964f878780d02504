"""What the daemon tells its service manager: sd_notify(3), in pure Python.

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
"""What the service manager says to this process alone."""


def forget(environ: MutableMapping[str, str]) -> None:
    """Take the service manager's variables out of ``environ``: they are not for children."""
    for name in VARIABLES:
        environ.pop(name, None)


class Notifier:
    """Tells the service manager how things are; does nothing where there is none.

    Telling never blocks and never fails: a manager that does not listen must not stop the work.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        """``environ`` has NOTIFY_SOCKET (also an abstract one) and WATCHDOG_USEC, if any."""
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self.watchdog_timeout = _watchdog_timeout(environ) if path else None
        """Seconds without a ping after which we are killed; None: nobody watches."""
        self.is_stopping = False
        """Whether the stop has begun."""

    def ready(self) -> None:
        """Everything is up, or the reload is done. Not told any more once the stop has begun."""
        if not self.is_stopping:
            self._send("READY=1")

    def reloading(self) -> None:
        """The configuration is being read again; ``ready`` ends it, whatever came of it."""
        # In one datagram with the time: that is what Type=notify-reload asks for.
        self._send(
            f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"
        )

    @contextmanager
    def around_reload(self) -> Iterator[None]:
        """Tell that the configuration is read again, for as long as the block takes."""
        self.reloading()
        try:
            yield
        finally:
            self.ready()

    def stopping(self) -> None:
        """The stop has begun."""
        self.is_stopping = True
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """All is alive."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Tell a person who asks ``systemctl status`` how things are, in one line."""
        self._send(f"STATUS={' '.join(text.split())}")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # OSError: nobody there, or its queue is full; ValueError: a path too long for an address.
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
