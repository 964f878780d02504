"""The public listener: answers callbacks on one path, and 200 only when they are durable."""

import asyncio
import os
import socket
import ssl
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, cast

import orjson
from aiohttp import web
from structlog.typing import FilteringBoundLogger

from reconciler.config import AccessRules, InForce
from reconciler.inbound.acceptor import Acceptor
from reconciler.inbound.checks import (
    Address,
    Claim,
    Rejection,
    check_authorization,
    check_body,
    client_address,
    is_in,
    same_path,
)
from reconciler.inbound.connection import Connection
from reconciler.inbound.group_commit import Intake, NotDurableError
from reconciler.inbound.limits import Limits
from reconciler.inbound.log_limit import LogLimit
from reconciler.inbound.places import Place
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.runtime.json_encoding import charset_of
from reconciler.store.inbox import Receipt

RETRY_AFTER = "5"
"""Seconds after which a sender that was answered 503 may try again."""

LONGEST_PATH = 100
"""Characters of a refused request's path that are logged."""

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
        intake: Intake,
        current: Current[InForce],
        tls: Current[ssl.SSLContext | None],
        *,
        limits: Limits,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        """``tls`` is for new connections; None: plain HTTP. Needs a running loop."""
        self._intake = intake
        self._current = current
        self._tls = tls
        self._limits = limits
        self._clock = clock
        self._log = log
        self._log_limit = LogLimit(clock)
        self._server = web.Server(self._handle)
        self._acceptor: Acceptor | None = None
        self._listening: Sequence[socket.socket] = ()
        self._stopping = asyncio.Event()
        self.rejected: Counter[str] = Counter()
        """How many requests were refused, by code."""
        self.handshakes_failed: Counter[str] = Counter()
        """How many TLS handshakes failed, by reason."""
        self.received = 0
        """How many callbacks were answered 200."""

    @property
    def is_full(self) -> bool:
        """Whether all places are taken by requests under way."""
        return self._acceptor is not None and self._acceptor.places.are_busy

    @property
    def keepalive(self) -> float:
        """Seconds for which an idle connection is kept."""
        return self._current.value.settings.listener.keepalive / 1000

    def open(self, *listening: socket.socket) -> None:
        """Accept on ``listening`` until ``stop``; ``run`` closes them at its end."""
        self._listening = listening
        self._acceptor = Acceptor(
            listening,
            self,
            self._tls,
            limits=self._limits,
            log_limit=self._log_limit,
            log=self._log,
        )
        self._acceptor.start()

    def stop(self) -> None:
        """Let ``run`` end."""
        self._stopping.set()

    async def run(self) -> None:
        """Wait for ``stop``; then accept no more, answer what has begun, and close.

        Drops nothing that was accepted.
        """
        await self._stopping.wait()
        if self._acceptor is None:
            return
        limits = self._limits
        until = asyncio.get_running_loop().time() + limits.request_timeout + limits.answering
        self._acceptor.stop()
        await self._acceptor.handshakes()
        await asyncio.sleep(limits.stop_linger)
        with suppress(TimeoutError):  # only a bug of ours lasts longer
            async with asyncio.timeout_at(until):
                while busy := self._busy():
                    await busy.idle.wait()
        self._server.pre_shutdown()  # else an idle connection is waited for
        await self._server.shutdown(timeout=limits.shutdown)
        for listening in self._listening:  # a proxy is refused at once, and asks another daemon
            listening.close()

    def connection(self, place: Place) -> Connection:
        """Return the protocol of one connection, which frees ``place`` at its end."""
        timeout = self._limits.request_timeout
        return Connection(self._server, self, place, timeout=timeout, log=self._log)

    def drops(self, peer: str) -> bool:
        """Tell whether ``peer`` is outside ``allow_from``, and is no proxy of an allowed one."""
        access = self._current.value.access
        if not access.allow_from or access.trusted_proxies:
            return False
        if is_in(client_address(peer, (), ()), access.allow_from):
            return False
        detail = "this address is not allowed"
        self._reject(Rejection(403, "forbidden", detail), peer)
        return True

    def handshake_failed(self, reason: str, remote: str) -> None:
        """Count a TLS handshake that failed."""
        self.handshakes_failed[reason] += 1
        if self._log_limit.may_log(f"tls_{reason}"):
            total = self.handshakes_failed[reason]
            self._log.info("tls_handshake_failed", reason=reason, remote=remote, total=total)

    def unreadable(self, request: web.BaseRequest, rejection: Rejection) -> web.Response:
        """Return the answer to bytes that are not HTTP."""
        self._reject(rejection, request.remote)  # its headers cannot be read either
        return _refusal(rejection.status, rejection.code, rejection.detail)

    def failed(self, error: BaseException | None) -> web.Response:
        """Return the answer to a request that a bug has ended."""
        self._log.error("request_failed", exc_info=error)
        detail = "this request could not be answered; the log says more"
        return _refusal(500, "internal", detail)

    def _busy(self) -> Connection | None:
        for connection in cast(list[Connection], self._server.connections):
            if connection.is_busy:
                return connection
        return None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        access = self._current.value.access
        try:
            answer = await self._take(request, access)
        except Rejection as rejection:
            address = _address_of(request, access)
            remote = str(address) if address else request.remote
            self._reject(rejection, remote, request.rel_url.raw_path)
            answer = _refusal(rejection.status, rejection.code, rejection.detail)
        if self._stopping.is_set():
            answer.force_close()
        return answer

    async def _take(self, request: web.BaseRequest, access: AccessRules) -> web.Response:
        """Check a request and keep its callback. Raises Rejection."""
        path, url = access.path, request.rel_url
        if not (same_path(request.path, path) or same_path(url.raw_path, path)):
            raise Rejection(404, "not_found", "there is nothing here")
        if request.method != "POST":
            raise Rejection(405, "method_not_allowed", "only POST is answered here")
        if access.allow_from and not is_in(_address_of(request, access), access.allow_from):
            raise Rejection(403, "forbidden", "this address is not allowed")
        check_authorization(request.headers.getall("Authorization", []), access.authorization)
        body = await cast(Connection, request.protocol).read_body(request, access.max_body)
        arrived = self._clock.monotonic()
        claim = check_body(body, charset_of(request.headers.get("Content-Type")))
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

    def _reject(self, rejection: Rejection, remote: str | None, path: str | None = None) -> None:
        self.rejected[rejection.reason] += 1
        if self._log_limit.may_log(rejection.reason):
            self._log.warning(
                "callback_rejected",
                reason=rejection.reason,
                http_status=rejection.status,
                detail=rejection.detail,
                path=path and path[:LONGEST_PATH],
                remote=remote,
                total=self.rejected[rejection.reason],
            )


def _address_of(request: web.BaseRequest, access: AccessRules) -> Address | None:
    forwarded = request.headers.getall("X-Forwarded-For", [])
    return client_address(request.remote, forwarded, access.trusted_proxies)


def _refusal(status: int, code: str, detail: str) -> web.Response:
    """Return an error. ``code`` is stable, ``detail`` for people."""
    return _answer(status, orjson.dumps({"error": code, "detail": detail}))


class _Response(web.Response):
    """An answer that does not tell which software and version gives it."""

    def _write_headers(self) -> Coroutine[Any, Any, None]:
        self.headers.popall("Server", None)
        return super()._write_headers()


def _answer(status: int, body: bytes) -> web.Response:
    headers = _HEADERS.get(status)
    return _Response(status=status, body=body, headers=headers, content_type="application/json")
