"""Remembers the status line of an answer, also where aiohttp cannot read what follows it.

A receiver that wrote ``HTTP/1.1 200`` has taken the delivery, whatever is wrong with its headers.

Subclasses of aiohttp's connector and of its protocol. Three private members are used, so
pyproject.toml pins aiohttp's minor version: ``TCPConnector._factory``, which makes the protocols,
``ClientRequest.response`` and ``ClientResponse._protocol``.

The reasons: docs/decisions/031.
"""

import asyncio
import re
from functools import partial
from typing import Any, cast

from aiohttp import ClientRequest, TCPConnector
from aiohttp.client_proto import ResponseHandler

LONGEST_HEAD = 64 * 1024
"""Bytes of an interim answer (1xx) behind which a status line is still looked for."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] +([1-5][0-9]{2})[ \r\n]")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


class StatusKeepingConnector(TCPConnector):
    """Opens connections that remember the status line of the answer they are reading."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        loop = asyncio.get_running_loop()
        self._factory = cast("partial[ResponseHandler]", partial(StatusKeepingProtocol, loop=loop))


class StatusKeepingProtocol(ResponseHandler):
    """Reads answers as aiohttp does. ``status`` is that of the present one, once it was read."""

    status: int | None = None
    _is_looking = False
    _head = b""

    def set_response_params(self, **settings: Any) -> None:
        """Begin with the answer to another request."""
        self.status = None
        self._is_looking = True
        self._head = b""
        super().set_response_params(**settings)

    def data_received(self, data: bytes) -> None:
        """Look for the status line before aiohttp reads on."""
        if self._is_looking:
            self._look_into(data)
        super().data_received(data)

    def _look_into(self, data: bytes) -> None:
        self._head += data
        while found := _STATUS_LINE.match(self._head):
            status = int(found[1])
            if status >= 200 or status == 101:
                self.status = status
                self._stop_looking()
                return
            end = _END_OF_HEAD.search(self._head)
            if end is None:
                break
            self._head = self._head[end.end() :]
        if len(self._head) > LONGEST_HEAD:
            self._stop_looking()

    def _stop_looking(self) -> None:
        self._is_looking = False
        self._head = b""


def status_read(request: ClientRequest | None) -> int | None:
    """Return the status that the first line of the answer to ``request`` told, if it came."""
    if request is None or request.response is None:
        return None
    protocol = request.response._protocol
    return protocol.status if isinstance(protocol, StatusKeepingProtocol) else None
