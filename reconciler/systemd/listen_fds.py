"""Takes the listening socket that the service manager has opened: sd_listen_fds(3).

The manager keeps it open while we restart, so connections wait in the kernel meanwhile.
https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html
"""

import os
import socket
from collections.abc import Mapping

NAME = "callbacks"
"""The name of the socket where several are passed (FileDescriptorName= of the socket unit)."""

_FIRST = 3
"""The first passed descriptor."""


class PassedSocketError(ValueError):
    """The passed socket cannot be used. The text is one line that says what to do."""


def passed_socket(environ: Mapping[str, str], first: int = _FIRST) -> socket.socket | None:
    """Return the socket for the public listener, or None where none was passed to this process.

    It is the one named ``callbacks``, or the only one. Raises PassedSocketError.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    try:
        count = int(environ.get("LISTEN_FDS", "0"))
    except ValueError:
        return None
    if count < 1:
        return None
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    names += ["unknown"] * (count - len(names))
    places = [place for place in range(count) if count == 1 or names[place] == NAME]
    if len(places) != 1:
        told = ", ".join(names[:count])
        raise PassedSocketError(
            f"the service manager passed {count} sockets ({told}); "
            f"one of them must have FileDescriptorName={NAME}, or be the only one"
        )
    return _checked(first + places[0])


def _checked(fd: int) -> socket.socket:
    os.set_inheritable(fd, False)
    try:
        listening = socket.socket(fileno=fd)
    except OSError as error:
        raise PassedSocketError(
            f"descriptor {fd}, passed by the service manager, is no socket: {error.strerror}"
        ) from None
    is_tcp = listening.family in (socket.AF_INET, socket.AF_INET6)
    is_stream = listening.type == socket.SOCK_STREAM
    if not (is_tcp and is_stream and listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)):
        listening.detach()
        raise PassedSocketError(
            "the socket passed by the service manager does not listen on TCP; "
            "the socket unit needs ListenStream= with an address and port, and Accept=no"
        )
    listening.setblocking(False)
    return listening
