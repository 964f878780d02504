"""The public listener: one path, one method, and a 200 only for what is durable."""

import asyncio
import os
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from structlog.typing import FilteringBoundLogger

from reconciler.inbound.acceptor import BACKLOG, Acceptor
from reconciler.inbound.checks import (
    Network,
    Rejection,
    caller,
    check_authorization,
    check_body,
    is_in,
)
from reconciler.inbound.deadline import REQUEST_TIMEOUT, TimedConnection
from reconciler.inbound.intake import Intake, NotDurableError
from reconciler.store.inbox import Receipt

MOST_CONNECTIONS = 1_000
KEEPALIVE = 30.0
LINGERING = 3.0
"""Seconds to read on after a refusal, so that the sender gets to see the answer."""

LINGER = 0.25
"""Seconds in which a connection accepted just before the stop may still send its request."""

SHUTDOWN = 4.0
"""Seconds that aiohttp may take to close what is left: the sender waits for 10."""

_RECEIVED = b'{"received": true}'


@dataclass(frozen=True, slots=True)
class Door:
    """Who and what is let in. Replaced as a whole when the configuration is read again."""

    path: str
    authorization: tuple[bytes, ...] = field(repr=False)
    allow_from: tuple[Network, ...]
    trusted_proxies: tuple[Network, ...]
    max_body: int


class Listener:
    """Answers Assure's callbacks on one listening socket."""

    def __init__(
        self,
        door: Door,
        intake: Intake,
        *,
        now: Callable[[], int],
        log: FilteringBoundLogger,
        tls: ssl.SSLContext | None = None,
        most_connections: int = MOST_CONNECTIONS,
        request_timeout: float = REQUEST_TIMEOUT,
    ) -> None:
        self.door = door
        self._intake = intake
        self._now = now
        self._log = log
        self._tls = tls
        self._most = most_connections
        self._request_timeout = request_timeout
        self._connections: set[TimedConnection] = set()
        self._server: web.Server | None = None
        self._acceptor: Acceptor | None = None
        self._is_stopping = False
        self._quiet = _Quiet(asyncio.get_running_loop().time)
        self.rejected: Counter[str] = Counter()
        """How many requests were refused, by code."""
        self.received = 0

    def start(self, listening: socket.socket) -> None:
        """Accept on ``listening`` from now on."""
        self._server = web.Server(self._handle)
        self._acceptor = Acceptor(
            listening, self._connection, most=self._most, tls=self._tls, log=self._log
        )
        self._acceptor.start()

    async def stop(self) -> None:
        """Stop accepting, finish what has begun, close. Nothing accepted is dropped.

        The caller closes the listening socket afterwards.
        """
        if self._server is None or self._acceptor is None:
            return
        self._is_stopping = True
        self._acceptor.stop()
        await self._acceptor.handshakes()
        await asyncio.sleep(LINGER)
        while busy := [connection.idle for connection in self._connections if connection.is_busy]:
            await asyncio.wait(busy)  # each ends by its answer or by its time limit
        await self._server.shutdown(timeout=SHUTDOWN)

    def _connection(self) -> TimedConnection:
        assert self._server is not None
        loop = asyncio.get_running_loop()
        return TimedConnection(
            _Handler(
                self._server,
                loop=loop,
                on_error=self._bad_request,
                access_log=None,
                keepalive_timeout=KEEPALIVE,
                lingering_time=LINGERING,
            ),
            limit=self._request_timeout,
            on_open=self._connections.add,
            on_closed=self._closed,
            on_timeout=lambda: self._log.debug("connection_timeout"),
        )

    def _closed(self, connection: TimedConnection) -> None:
        self._connections.discard(connection)
        if self._acceptor is not None:
            self._acceptor.closed()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.transport.get_protocol() if request.transport else None
        try:
            response = await self._answer(request, connection)
        except Rejection as rejection:
            self._reject(request, rejection)
            response = _error(rejection.status, rejection.code, rejection.detail)
        if self._is_stopping:
            response.force_close()
        if isinstance(connection, TimedConnection):
            connection.request_answered()
        return response

    async def _answer(
        self, request: web.BaseRequest, connection: asyncio.BaseProtocol | None
    ) -> web.Response:
        door = self.door
        if request.path != door.path:
            raise Rejection(404, "not_found", "there is nothing here")
        if request.method != "POST":
            raise Rejection(405, "method_not_allowed", "only POST is answered here")
        if door.allow_from:
            forwarded = request.headers.getall("X-Forwarded-For", [])
            address = caller(request.remote, forwarded, door.trusted_proxies)
            if not is_in(address, door.allow_from):
                raise Rejection(403, "forbidden", "this address is not allowed")
        check_authorization(request.headers.get("Authorization"), door.authorization)
        body = await _read(request, door.max_body)
        if isinstance(connection, TimedConnection):
            connection.request_received()
        claim = check_body(body)
        at = self._now()
        receipt = Receipt(
            receipt_id=f"{at:012x}{os.urandom(10).hex()}",
            received_at=at,
            process_id=claim.process_id,
            dossier_id=claim.dossier_id,
            status=claim.status,
            extra=claim.extra,
            body_sha256=claim.body_sha256,
        )
        try:
            await self._intake.put(receipt)
        except NotDurableError:
            response = _error(503, "not_durable", "the callback could not be kept; send it again")
            response.headers["Retry-After"] = "5"
            return response
        self.received += 1
        return web.Response(body=_RECEIVED, content_type="application/json")

    def _bad_request(
        self, request: web.BaseRequest, status: int, error: BaseException | None
    ) -> web.Response:
        """Answer what is not HTTP, or a bug of ours."""
        if status < 500:
            rejection = Rejection(status, "bad_http", "this is not an HTTP request we can read")
            self._reject(request, rejection)
            return _error(rejection.status, rejection.code, rejection.detail)
        self._log.error("request_failed", exc_info=error)
        return _error(status, "internal", "this request could not be answered; the log says more")

    def _reject(self, request: web.BaseRequest, rejection: Rejection) -> None:
        self.rejected[rejection.code] += 1
        if self._quiet.may_log(rejection.code):
            self._log.warning(
                "callback_rejected",
                reason=rejection.code,
                http_status=rejection.status,
                remote=request.remote,
                total=self.rejected[rejection.code],
            )


class _Handler(web.RequestHandler):
    """aiohttp's protocol, but for its errors: those are JSON, and logged without a traceback."""

    __slots__ = ("_on_error",)

    def __init__(
        self,
        server: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        on_error: Callable[[web.BaseRequest, int, BaseException | None], web.Response],
        **settings: Any,
    ) -> None:
        super().__init__(server, loop=loop, **settings)
        self._on_error = on_error

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer in JSON and close."""
        response = self._on_error(request, status, exc)
        response.force_close()
        return response


class _Quiet:
    """Lets 20 lines of a kind through at once and one a second after that."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._left: dict[str, tuple[float, float]] = {}

    def may_log(self, kind: str) -> bool:
        now = self._monotonic()
        left, at = self._left.get(kind, (20.0, now))
        left = min(20.0, left + now - at)
        allowed = left >= 1
        self._left[kind] = (left - 1 if allowed else left, now)
        return allowed


async def _read(request: web.BaseRequest, most: int) -> bytes:
    """Return the whole body, or raise 413 as soon as it is known to be too large."""
    too_large = Rejection(413, "too_large", f"the body is larger than {most} bytes")
    if request.content_length is not None and request.content_length > most:
        raise too_large
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > most:
                raise too_large
    except (web.RequestPayloadError, ConnectionError):
        raise Rejection(400, "incomplete", "the body did not arrive whole") from None
    return bytes(body)


def _error(status: int, code: str, detail: str) -> web.Response:
    response = web.Response(
        status=status,
        body=orjson.dumps({"error": code, "detail": detail}),
        content_type="application/json",
    )
    if status == 405:
        response.headers["Allow"] = "POST"
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket for ``host``; port 0 takes any free one. Raises OSError."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = infos[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
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
