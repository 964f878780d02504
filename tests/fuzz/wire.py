"""A listener whose time jumps, on one end of a pair of sockets, and the sender on the other."""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from structlog.testing import LogCapture

from reconciler.config import AccessRules
from reconciler.inbound.build import build_inbound
from reconciler.inbound.places import Places
from reconciler.inbound.spool import Spool
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.store.inbox import Inbox, Receipt
from tests.configuration import in_force_with
from tests.fuzz.http_messages import PATH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from reconciler.inbound.listener import Listener

MAY_ANSWER = {100, 200, 400, 401, 403, 404, 405, 413, 415, 431}
"""The answers of the contract, but for 503, for which the store would have to fail."""

MAX_BODY = 2_000

BAD_EVENTS = {
    "request_failed",
    "callback_not_applied",
    "callback_not_durable",
    "callback_poisoned",
    "store_unavailable",
}
"""No input may cause one of these."""


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: if no socket is ready, the time passes at once."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("a hang: nothing would ever happen")
        if not ready and timeout:
            self.passed += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that never sleeps. Both ends of all its sockets must be on it."""

    def __init__(self) -> None:
        self._jumps = _Selector()
        super().__init__(self._jumps)

    def time(self) -> float:
        return super().time() + self._jumps.passed


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any


def answers_in(data: bytes) -> list[Answer]:
    """Read all answers in ``data``; each must be whole, in JSON, and one that is documented."""
    found = []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        assert end, head
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version.startswith("HTTP/")
        assert int(status) in MAY_ANSWER, first
        headers = {
            name.lower(): value for name, _, value in (each.partition(": ") for each in lines)
        }
        if int(status) == 100:
            data = rest
            continue
        length = int(headers["content-length"])
        assert len(rest) >= length or rest == b"", "an answer is cut off"  # none follows HEAD
        body = orjson.loads(rest[:length]) if rest else None
        if int(status) == 200:
            assert body == {"received": True}
        elif body is not None:
            assert body.keys() == {"error", "detail"}
        found.append(Answer(int(status), headers, body))
        data = rest[length:]
    return found


class _Memory(Inbox):
    """Takes callbacks, and keeps them in memory."""

    def __init__(self) -> None:
        self.kept: list[Receipt] = []

    async def put_many(self, receipts: Sequence[Receipt]) -> None:
        self.kept += receipts


class _Nobody:
    def retry(self) -> None: ...


class Line:
    """Opens one connection after the other to a listener."""

    def __init__(self, listener: Listener, inbox: _Memory, lines: LogCapture) -> None:
        self._listener = listener
        self._inbox = inbox
        self._lines = lines
        self.places = Places(10, _Nobody())
        self.failures: list[dict[str, Any]] = []
        """Of the loop: exceptions that nobody caught."""

    async def send(
        self, pieces: Sequence[bytes], *, hangs_up: bool = True
    ) -> tuple[list[Answer], list[Receipt]]:
        """Send ``pieces``; return what was answered and kept until the listener closed."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        protocol = partial(self._listener.connection, self.places.take())
        transport, _ = await loop.connect_accepted_socket(protocol, theirs)
        reading = loop.create_task(_read_all(loop, ours))
        try:
            for piece in pieces:
                await loop.sock_sendall(ours, piece)
                for _ in range(3):  # so that it is read before the next
                    await asyncio.sleep(0)
            if hangs_up:
                ours.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused already
        received = await reading
        while self.places.taken:
            await asyncio.sleep(0.01)
        assert transport.is_closing()
        ours.close()
        kept, self._inbox.kept = self._inbox.kept, []
        events = [entry["event"] for entry in self._lines.entries]
        self._lines.entries.clear()
        assert not BAD_EVENTS & {*events}
        assert self.failures == []
        return answers_in(received), kept


async def _read_all(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bytes:
    received = b""
    try:
        while data := await loop.sock_recv(sock, 65536):
            received += data
    except ConnectionError:
        pass
    return received


@asynccontextmanager
async def open_line(spool: Path) -> AsyncIterator[Line]:
    """Build the parts that take callbacks; only the store is none."""
    lines, clock = LogCapture(), Clock()
    log = structlog.wrap_logger(
        None, processors=[lines], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    access = AccessRules(PATH, (), (), (), MAX_BODY)
    inbox = _Memory()
    inbound = build_inbound(
        inbox,
        Spool(spool, "fuzz"),
        Current(replace(in_force_with(), access=access)),
        Current(None),
        due=Bell("due"),
        news=Bell("news"),
        clock=clock,
        log=log,
    )
    made = Line(inbound.listener, inbox, lines)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: made.failures.append(context))
    running = loop.create_task(inbound.intake.run())
    try:
        yield made
    finally:
        inbound.intake.stop()
        await running
        inbound.spool.close()
