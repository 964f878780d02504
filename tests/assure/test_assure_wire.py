"""The client against sockets that misbehave."""

import asyncio
import gzip
import socket
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import structlog
from aiohttp import ClientSession, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from structlog.testing import CapturingLogger

from reconciler.assure import (
    AssureClient,
    Endpoint,
    TokenUnavailable,
)
from reconciler.outbound.body import MAX_ANSWER
from reconciler.outbound.budget import Budget
from reconciler.outbound.errors import CallError, TransportError, UnreadableAnswer
from reconciler.outbound.session import build_session, trusting
from reconciler.runtime.clock import Clock

OK = b"HTTP/1.1 200 OK\r\n"
TOKEN = OK + b'Content-Length: 26\r\n\r\n{"access_token":"token-1"}'
PENDING = OK + b'Content-Length: 20\r\n\r\n{"status":"pending"} '.rstrip()

Exchange = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Wire:
    """A server that gives a token as it should, and lets the test answer the call itself.

    Every connection counts; a call is answered by ``answer`` with the bare socket.
    """

    def __init__(self, answer: Exchange) -> None:
        self.answer = answer
        self.calls: list[bytes] = []
        self.connections = 0
        self.asked = asyncio.Event()
        self.gone = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"POST /token"):
                    await reader.readexactly(len(b"grant_type=client_credentials"))
                    writer.write(TOKEN)
                    continue
                self.calls.append(head)
                self.asked.set()
                await self.answer(reader, writer)
        self.gone.set()
        writer.close()


def says(answer: bytes, *, then_closes: bool = False) -> Exchange:
    async def exchange(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        if then_closes:
            raise ConnectionError

    return exchange


async def hangs(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()  # until the client goes
    raise ConnectionError


async def resets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()
    raise ConnectionError


def endpoint(base: str, **changes: object) -> Endpoint:
    settings: dict[str, object] = {
        "base_url": base,
        "token_url": f"{base}/token",
        "client_id": "me",
        "client_secret": "canary-client-secret",
        "scope": "",
        "process_path": "/d/{dossierId}/p/{processId}",
        "notify_path": "/d/{dossierId}/p/{processId}/notify",
        "notify_method": "POST",
        "timeout": 5.0,
    }
    return Endpoint(**(settings | changes))  # type: ignore[arg-type]  # by name


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """Serve on a free loopback port; on leaving, every connection is ended."""
    tasks: set[asyncio.Task[None]] = set()

    async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await serve(reader, writer)

    server = await asyncio.start_server(tracked, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    try:
        yield port
    finally:
        server.close()
        if tasks:
            await asyncio.wait(tasks, timeout=5)


@asynccontextmanager
async def client_of(target: Endpoint) -> AsyncIterator[AssureClient]:
    clock, log = Clock(), structlog.wrap_logger(CapturingLogger())
    async with build_session(trusting(""), 4) as session:
        yield AssureClient(target, session, Budget(1000, clock=clock), clock, log)


@asynccontextmanager
async def client_against(wire: Wire, **changes: object) -> AsyncIterator[AssureClient]:
    async with (
        listening(wire.serve) as port,
        client_of(endpoint(f"http://127.0.0.1:{port}", **changes)) as client,
    ):
        yield client


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def failure(wire: Wire, **changes: object) -> CallError:
    async with client_against(wire, **changes) as client:
        with pytest.raises(CallError) as caught:
            await client.get_process("d1", "p1")
    # aiohttp's own errors carry the request with its headers; none may hang on ours.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


async def test_the_stand_in_can_also_answer_well() -> None:
    wire = Wire(says(PENDING))
    async with client_against(wire) as client:
        for _ in range(3):
            assert (await client.get_process("d1", "p1")).status == "pending"
    assert wire.connections == 1


async def test_a_refused_connection_is_told_as_such() -> None:
    async with client_of(endpoint(f"http://127.0.0.1:{closed_port()}")) as client:
        with pytest.raises(TokenUnavailable, match=r"^connection_refused$"):
            await client.get_process("d1", "p1")

    wire = Wire(says(PENDING))
    error = await failure(wire, base_url=f"http://127.0.0.1:{closed_port()}")
    assert type(error) is TransportError
    assert error.code == "connection_refused"


class NoNames(AbstractResolver):
    async def resolve(self, *_: object, **__: object) -> list[ResolveResult]:
        raise OSError("no such name")

    async def close(self) -> None:
        pass


async def test_a_name_that_does_not_resolve_is_told_as_such() -> None:
    connector = TCPConnector(resolver=NoNames())
    async with ClientSession(connector=connector) as session:
        clock, log = Clock(), structlog.wrap_logger(CapturingLogger())
        budget = Budget(1, clock=clock)
        client = AssureClient(endpoint("http://assure.example"), session, budget, clock, log)
        with pytest.raises(TokenUnavailable, match=r"^dns$"):
            await client.get_process("d1", "p1")


@pytest.mark.parametrize(
    "changes",
    [
        {"base_url": "http://user:canary@127.0.0.1:1"},
        {"base_url": "ftp://127.0.0.1"},
        {"base_url": "http://" + "a" * 64 + ".example"},
        {"base_url": "http://"},
        {"notify_method": "PO ST"},
    ],
)
async def test_a_request_that_cannot_be_sent_is_an_error_of_ours(changes: dict[str, str]) -> None:
    async with client_against(Wire(says(PENDING)), **changes) as client:
        with pytest.raises(TransportError, match=r"^unsendable$"):
            await client.notify("d1", "p1")


@pytest.mark.parametrize(
    ("answer", "kind", "code", "status"),
    [
        (resets, TransportError, "disconnected", None),
        (says(b"", then_closes=True), TransportError, "disconnected", None),
        (says(OK + b"Content-Le", then_closes=True), TransportError, "disconnected", None),
        (
            says(OK + b'Content-Length: 99\r\n\r\n{"status":"acc', then_closes=True),
            TransportError,
            "disconnected",
            200,
        ),
        (
            says(OK + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"sta\r\n', then_closes=True),
            TransportError,
            "disconnected",
            200,
        ),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), UnreadableAnswer, "not_http", None),
        (says(OK + b"X-Long: " + b"a" * 200_000 + b"\r\n\r\n"), UnreadableAnswer, "not_http", None),
        (says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
         UnreadableAnswer, "http_101", 101),
    ],
)  # fmt: skip
@pytest.mark.fault("Assure", "breaks off anywhere in its answer", "disconnected")
async def test_an_answer_that_breaks_off_or_is_none_is_told_as_such(
    answer: Exchange, kind: type[CallError], code: str, status: int | None
) -> None:
    error = await failure(Wire(answer))
    assert (type(error), error.code, error.http_status) == (kind, code, status)


async def test_a_call_is_sent_once_even_when_the_connection_is_lost() -> None:
    wire = Wire(resets)
    await failure(wire)
    assert len(wire.calls) == 1


@pytest.mark.parametrize(
    "before", [b"", OK + b'Content-Length: 99\r\n\r\n{"status":', OK + b"Content-Length: 99\r\n"]
)
async def test_the_timeout_covers_the_whole_call_with_its_body(before: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(before)
        await hangs(reader, writer)

    wire = Wire(answer)
    error = await failure(wire, timeout=0.2)
    assert type(error) is TransportError
    assert error.code == "timeout"
    await wire.gone.wait()


@pytest.mark.fault("Assure", "sends its body byte by byte", "timeout")
async def test_a_body_that_trickles_does_not_prolong_the_timeout() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 1000000\r\n\r\n")
        while not reader.at_eof():
            writer.write(b" ")
            await writer.drain()
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.02)
        raise ConnectionError

    error = await failure(Wire(answer), timeout=0.3)
    assert (type(error), error.code, error.http_status) == (TransportError, "timeout", 200)


async def test_a_token_endpoint_that_hangs_is_given_up_after_the_timeout() -> None:
    async with (
        listening(hangs_and_ends) as port,
        client_of(endpoint(f"http://127.0.0.1:{port}", timeout=0.2)) as client,
    ):
        with pytest.raises(TokenUnavailable, match=r"^timeout$"):
            await client.get_process("d1", "p1")


async def hangs_and_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.mark.parametrize("status", [b"404 Not Found", b"503 Service Unavailable"])
async def test_a_failed_call_does_not_wait_for_the_body_of_its_error(status: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 99\r\n\r\nx")
        await hangs(reader, writer)

    error = await failure(Wire(answer), timeout=30.0)
    assert error.code == f"http_{status[:3].decode()}"


async def test_a_notify_that_is_accepted_does_not_wait_for_its_body() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 99\r\n\r\nx")
        await hangs(reader, writer)

    async with client_against(Wire(answer), timeout=30.0) as client:
        assert await client.notify("d1", "p1") == 202


@pytest.mark.fault("Assure", "answers without end", "too_large")
async def test_reading_stops_soon_after_the_limit() -> None:
    sent = 0

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(OK + b"Connection: close\r\n\r\n")
        while True:
            writer.write(b" " * 65536)
            await writer.drain()  # fails when the client has gone
            sent += 65536

    error = await failure(Wire(answer), timeout=30.0)
    assert (type(error), error.code) == (UnreadableAnswer, "too_large")
    # Bytes that the kernel's buffers and aiohttp's take beyond the limit.
    assert sent < MAX_ANSWER + 32 * 1024 * 1024


@pytest.mark.fault("Assure", "answers with a gzip bomb", "too_large")
async def test_a_gzip_bomb_costs_no_more_than_the_limit() -> None:
    bomb = gzip.compress(bytes(256 * 1024 * 1024), compresslevel=9)
    head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with client_against(Wire(says(OK + head + bomb))) as client:
        await client.ensure_token()
        tracemalloc.start()
        try:
            with pytest.raises(UnreadableAnswer, match=r"^too_large$"):
                await client.get_process("d1", "p1")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


async def test_a_cancelled_call_gives_its_connection_free() -> None:
    wire = Wire(hangs)
    async with client_against(wire) as client:
        for _ in range(12):  # the pool holds five
            wire.asked.clear()
            wire.gone.clear()
            call = asyncio.ensure_future(client.get_process("d1", "p1"))
            await wire.asked.wait()
            call.cancel()
            await asyncio.wait({call})
            assert call.cancelled()
            await wire.gone.wait()
        wire.answer = says(PENDING)
        assert (await client.get_process("d1", "p1")).status == "pending"
