"""The public listener: one path, one method, and a 200 only for what is durable."""

import asyncio
import os
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

import orjson
from aiohttp import web
from structlog.typing import FilteringBoundLogger

from reconciler.config import AccessRules
from reconciler.inbound.acceptor import BACKLOG, Acceptor
from reconciler.inbound.checks import (
    Address,
    Claim,
    Rejection,
    check_authorization,
    check_body,
    client_address,
    is_in,
)
from reconciler.inbound.connection import REQUEST_TIMEOUT, Connection
from reconciler.inbound.intake import Intake, NotDurableError
from reconciler.inbound.log_limit import LogLimit
from reconciler.runtime.clock import Clock
from reconciler.store.inbox import Receipt

MOST_CONNECTIONS = 1_000

LINGER = 0.25
"""Seconds in which a connection accepted just before the stop may still send its request."""

ANSWERING = 8.0
"""Seconds that our own part of a request can take: the store's time, the spool's and some."""

SHUTDOWN = 4.0
"""Seconds that aiohttp may take to close what is left: the sender waits for 10."""

RETRY_AFTER = "5"
"""Seconds after which a sender that was answered 503 may try again."""

_RECEIVED = b'{"received": true}'
_HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    405: {"Allow": "POST"},
    503: {"Retry-After": RETRY_AFTER},
}


class Listener:
    """Answers Assure's callbacks on one listening socket."""

    def __init__(
        self,
        door: AccessRules,
        intake: Intake,
        *,
        clock: Clock,
        log: FilteringBoundLogger,
        tls: ssl.SSLContext | None = None,
        most_connections: int = MOST_CONNECTIONS,
        request_timeout: float = REQUEST_TIMEOUT,
        linger: float = LINGER,
    ) -> None:
        self.door = door
        self._intake = intake
        self._clock = clock
        self._log = log
        self._tls = tls
        self._most = most_connections
        self._request_timeout = request_timeout
        self._linger = linger
        self._server: web.Server | None = None
        self._acceptor: Acceptor | None = None
        self._is_stopping = False
        self._quiet = LogLimit(clock)
        self.rejected: Counter[str] = Counter()
        """How many requests were refused, by code."""
        self.received = 0

    def start(self, listening: socket.socket) -> None:
        """Accept on ``listening`` from now on."""
        self._server = web.Server(self._handle)
        self._acceptor = Acceptor(
            listening,
            self._connection,
            most=self._most,
            tls=self._tls,
            handshake_timeout=self._request_timeout,
            quiet=self._quiet,
            log=self._log,
        )
        self._acceptor.start()

    def use_tls(self, tls: ssl.SSLContext | None) -> None:
        """Serve connections from now on with ``tls``, or plain; those that are open go on."""
        self._tls = tls
        if self._acceptor is not None:
            self._acceptor.tls = tls

    async def stop(self) -> None:
        """Stop accepting, finish what has begun, close. Nothing accepted is dropped.

        The caller closes the listening socket afterwards.
        """
        if self._server is None or self._acceptor is None:
            return
        self._is_stopping = True
        until = asyncio.get_running_loop().time() + self._request_timeout + ANSWERING
        self._acceptor.stop()
        await self._acceptor.handshakes()
        await asyncio.sleep(self._linger)
        with suppress(TimeoutError):  # only a bug of ours lasts longer
            async with asyncio.timeout_at(until):
                while busy := self._busy():
                    await busy.idle.wait()
        self._server.pre_shutdown()  # else an idle connection is waited for
        await self._server.shutdown(timeout=SHUTDOWN)

    def closed(self) -> None:
        """Give the place of a connection that has ended to the next."""
        if self._acceptor is not None:
            self._acceptor.closed()

    def unreadable(
        self, request: web.BaseRequest, status: int, error: BaseException | None
    ) -> web.Response:
        """Return the answer to what is not HTTP, or to a request that a bug of ours has ended."""
        if status < 500:
            rejection = Rejection(status, "bad_http", "this is not an HTTP request we can read")
            self._reject(rejection, request.remote)  # what headers there are, nobody can tell
            return _refusal(rejection.status, rejection.code, rejection.detail)
        self._log.error("request_failed", exc_info=error)
        detail = "this request could not be answered; the log says more"
        return _refusal(status, "internal", detail)

    def _connection(self) -> Connection:
        assert self._server is not None
        return Connection(self._server, self, time_limit=self._request_timeout, log=self._log)

    def _busy(self) -> Connection | None:
        assert self._server is not None
        for connection in cast(list[Connection], self._server.connections):
            if connection.is_busy:
                return connection
        return None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            answer = await self._take(request)
        except Rejection as rejection:
            address = self._address_of(request)
            self._reject(rejection, str(address) if address else request.remote)
            answer = _refusal(rejection.status, rejection.code, rejection.detail)
        if self._is_stopping:
            answer.force_close()
        return answer

    async def _take(self, request: web.BaseRequest) -> web.Response:
        """Check a request and keep its callback. Raises Rejection."""
        door = self.door
        if door.path not in (request.path, request.rel_url.raw_path):
            raise Rejection(404, "not_found", "there is nothing here")
        if request.method != "POST":
            raise Rejection(405, "method_not_allowed", "only POST is answered here")
        if door.allow_from and not is_in(self._address_of(request), door.allow_from):
            raise Rejection(403, "forbidden", "this address is not allowed")
        check_authorization(request.headers.get("Authorization"), door.authorization)
        body = await cast(Connection, request.protocol).read_body(request, door.max_body)
        arrived = self._clock.monotonic()
        claim = check_body(body)
        try:
            await self._intake.put(self._receipt(claim))
        except NotDurableError:
            detail = "the callback could not be kept; send it again"
            return _refusal(503, "not_durable", detail)
        self.received += 1
        seconds = self._clock.monotonic() - arrived
        self._log.debug("callback_acknowledged", seconds=seconds)
        return _answer(200, _RECEIVED)

    def _receipt(self, claim: Claim) -> Receipt:
        at = self._clock.now()
        return Receipt(
            receipt_id=f"{at:012x}{os.urandom(10).hex()}",
            received_at=at,
            process_id=claim.process_id,
            dossier_id=claim.dossier_id,
            status=claim.status,
            extra=claim.extra,
            body_sha256=claim.body_sha256,
        )

    def _address_of(self, request: web.BaseRequest) -> Address | None:
        forwarded = request.headers.getall("X-Forwarded-For", [])
        return client_address(request.remote, forwarded, self.door.trusted_proxies)

    def _reject(self, rejection: Rejection, remote: str | None) -> None:
        self.rejected[rejection.code] += 1
        if self._quiet.may_log(rejection.code):
            self._log.warning(
                "callback_rejected",
                reason=rejection.code,
                http_status=rejection.status,
                remote=remote,
                total=self.rejected[rejection.code],
            )


def _refusal(status: int, code: str, detail: str) -> web.Response:
    """Return an error. ``code`` is stable, ``detail`` for people."""
    return _answer(status, orjson.dumps({"error": code, "detail": detail}))


def _answer(status: int, body: bytes) -> web.Response:
    headers = _HEADERS.get(status)
    return web.Response(status=status, body=body, headers=headers, content_type="application/json")


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
