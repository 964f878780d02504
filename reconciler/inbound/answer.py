"""What the listener answers: JSON, always, and written before its connection is let go."""

import orjson
from aiohttp import web

from reconciler.inbound.deadline import TimedConnection

LINGERING = 3.0
"""Seconds to read on after a refusal, so that the sender gets to see the answer."""

RETRY_AFTER = "5"
"""Seconds after which a sender that was answered 503 may try again."""

_RECEIVED = b'{"received": true}'
_HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    405: {"Allow": "POST"},
    503: {"Retry-After": RETRY_AFTER},
}


class Answer(web.Response):
    """One answer on ``connection``, which is told when the answer has been written."""

    def __init__(self, status: int, body: bytes, connection: TimedConnection | None) -> None:
        super().__init__(
            status=status,
            body=body,
            headers=_HEADERS.get(status),
            content_type="application/json",
        )
        self._connection = connection
        self._lingers = False

    def close_gently(self) -> None:
        """Close the connection after this answer, once its sender has had time to read it."""
        self.force_close()
        self._lingers = True

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the answer out, and tell the connection."""
        if self._connection is not None:
            self._connection.answer_ready()
        await super().write_eof(data)
        if self._connection is not None:
            self._connection.answer_written()
            if self._lingers:
                await self._connection.linger(LINGERING)


def received(connection: TimedConnection | None) -> Answer:
    """Return the 200 for a callback that is durable."""
    return Answer(200, _RECEIVED, connection)


def refusal(status: int, code: str, detail: str, connection: TimedConnection | None) -> Answer:
    """Return an error. ``code`` is stable, ``detail`` for people."""
    return Answer(status, orjson.dumps({"error": code, "detail": detail}), connection)
