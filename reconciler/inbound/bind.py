"""Binds the listening sockets of the public listener."""

import errno
import os
import socket
from collections.abc import Sequence

from reconciler.inbound.acceptor import BACKLOG

_ATTEMPTS = 10
"""Attempts to find a port that is free on all addresses."""


def bind(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets for all addresses of ``host``, on one port. Raises OSError.

    Port 0 takes one that is free on all of them. An address that this machine does not have is
    left out, unless none is left.
    """
    names = ("127.0.0.1", "::1") if host == "localhost" else (host,)
    infos: dict[tuple[socket.AddressFamily, str], None] = {}
    for name in names:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        infos.update({(info[0], str(info[4][0])): None for info in found})
    for attempt in range(_ATTEMPTS):
        try:
            return _bind_all(list(infos), port)
        except OSError as error:
            if port or error.errno != errno.EADDRINUSE or attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError  # the last attempt returns or raises


def _bind_all(wanted: Sequence[tuple[socket.AddressFamily, str]], port: int) -> list[socket.socket]:
    bound: list[socket.socket] = []
    missing: OSError | None = None
    for family, address in wanted:
        try:
            bound.append(_bind_one(family, address, port, is_alone=len(wanted) == 1))
            port = bound[0].getsockname()[1]
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                for listening in bound:
                    listening.close()
                raise
            missing = error
    if not bound:
        raise missing or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    return bound


def _bind_one(
    family: socket.AddressFamily, address: str, port: int, *, is_alone: bool
) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and not is_alone:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((address, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


def addresses(listening: Sequence[socket.socket], scheme: str) -> str:
    """Return the base URL under which the first of ``listening`` is reached."""
    host, port = listening[0].getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
