"""Answers of Assure and its token endpoint, and of proxies in between: any bytes at all."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import structlog
from hypothesis import strategies as st
from structlog.testing import LogCapture

from reconciler.assure import AssureClient, ProcessStatus
from reconciler.assure.process_answer import body_reader
from reconciler.ledger.identifiers import flaw_of_text
from reconciler.outbound.body import HELD
from reconciler.outbound.budget import Budget
from reconciler.outbound.errors import CallError, UnreadableAnswer
from reconciler.outbound.retry_after import LONGEST, retry_after
from reconciler.outbound.session import build_session, trusting
from reconciler.runtime.clock import Clock
from tests.assure.conftest import endpoint_at
from tests.fuzz.http_messages import CONTENT_TYPES, chunked
from tests.fuzz.texts import (
    ANY_TEXT,
    CHARSETS,
    JSON_VALUES,
    SIZES,
    damaged,
    in_pieces,
    variants,
    written,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fuzz.conftest import Fuzz
    from tests.fuzz.loop import LoopInThread

WORDS = st.sampled_from(
    ["accepted", "pending", "Accepted", "", "onfido", "x" * 256, "a\nb", "\x00"]
)
TIMES = st.one_of(
    st.sampled_from(["2019-09-19T22:10:56Z", "0001-01-01T00:00:00", "9999-12-31T23:59:59-23:59"]),
    st.datetimes().map(lambda at: at.isoformat()),
    st.text("0123456789-:TZ+.W ", max_size=30),
)
PROCESSES = st.fixed_dictionaries(
    {},
    optional={
        "status": WORDS | JSON_VALUES | ANY_TEXT,
        "provider": WORDS | JSON_VALUES,
        "processType": WORDS | JSON_VALUES,
        "createdAt": TIMES | JSON_VALUES,
        "updatedAt": TIMES | JSON_VALUES,
        "finalResult": JSON_VALUES,
        "x": JSON_VALUES,
    },
)
LIFETIMES = st.sampled_from([0, -1, 1, 300, 3600, 10**30, 1e300, "300", " 60 ", "1e3", "9" * 400])
TOKENS = st.fixed_dictionaries(
    {},
    optional={
        "access_token": st.sampled_from(["t0ken", "", "a b", "é", "x" * 5000]) | JSON_VALUES,
        "expires_in": LIFETIMES | JSON_VALUES,
        "error": st.sampled_from(["invalid_client", "odd"]) | JSON_VALUES,
        "token_type": JSON_VALUES,
    },
)
DEEP = st.sampled_from(["[" * 3000 + "]" * 3000, '{"a":' * 2000 + "1" + "}" * 2000, "9" * 6000])


def bodies(values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Return bodies with one of ``values``, or something else."""
    texts = st.one_of(
        written(values),
        written(values),
        DEEP.map(lambda deep: f'{{"x": {deep}, "status": "accepted", "access_token": "t0ken"}}'),
        st.just("<html>502 Bad Gateway</html>"),
    )
    plain = texts.map(lambda text: text.encode("utf-8", "surrogatepass"))
    return plain | st.binary(max_size=100)


DATES = st.datetimes().map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT"))
WAITS = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    DATES,
    st.tuples(DATES, st.text("GMTESZ+-0123456789 :.,()", max_size=12)).map("".join),
    st.text("SunMoTeWdhFriJaFbApyJulgSepOctNvDc0123456789 ,:+-.()", max_size=40),
    st.sampled_from(["9" * 6000, "-" + "9" * 6000, "1e5", "\x00", "\ud800"]),
)


@pytest.mark.share(4)
def test_any_retry_after_is_a_bounded_wait_or_nothing(fuzz: Fuzz) -> None:
    def check(header: str, now: float) -> None:
        wait = retry_after(header, now)
        assert wait is None or 0 <= wait <= LONGEST

    fuzz(check, header=WAITS, now=st.floats(0, 4e9))


class Arrived:
    """A response whose body has arrived, in pieces."""

    def __init__(self, pieces: list[bytes], charset: str) -> None:
        self.content = self
        self.status = 200
        self.headers = {"Content-Type": f"application/json; charset={charset}"}
        self._pieces = pieces

    async def read(self, _size: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def status_in(body: bytes, sizes: list[int], charset: str) -> ProcessStatus | str:
    """Return the parts that are kept of an answer to Get process, else the code of the error."""
    response: Any = Arrived(in_pieces(body, sizes), charset)
    try:
        body_reader().read(response).send(None)
    except StopIteration as read:
        members = read.value
    except UnreadableAnswer as error:
        return error.code
    try:
        return ProcessStatus.from_members(members, 200)
    except UnreadableAnswer as error:
        return error.code


@pytest.mark.share(4, each=8)
def test_any_body_is_a_status_or_a_named_error_in_whatever_pieces_it_comes(fuzz: Fuzz) -> None:
    def check(bodies: list[bytes], sizes: list[int], charset: str) -> int:
        for body in bodies:
            found = status_in(body, sizes, charset)
            if isinstance(found, ProcessStatus):
                check_status(found)
            else:
                assert found in ("no_status", "not_json")
        return len(bodies)

    charsets = st.sampled_from(CHARSETS) | ANY_TEXT
    fuzz(check, bodies=variants(bodies(PROCESSES)), sizes=SIZES, charset=charsets)


@pytest.mark.share(2)
def test_of_an_answer_in_strict_json_just_what_it_says_is_read_small_or_large(fuzz: Fuzz) -> None:
    def check(text: str, pad: int, sizes: list[int]) -> None:
        try:
            body, says = text.encode(), orjson.loads(text)
        except (UnicodeEncodeError, orjson.JSONDecodeError):
            return
        if pad:  # beyond what is held it is read in pieces
            body = b'{"pad": "%s"%s%s' % (b"x" * pad, b", " if says else b"", body[1:])
        found = status_in(body, [size * 100 for size in sizes], "utf-8")
        status = says.get("status")
        if not isinstance(status, str) or flaw_of_text(status):
            assert found == "no_status"
            return
        assert isinstance(found, ProcessStatus)
        assert found.status == status
        assert found.has_final_result == (says.get("finalResult") is not None)
        provider = says.get("provider")
        is_text = isinstance(provider, str) and flaw_of_text(provider) is None
        assert found.provider == (provider if is_text else None)

    fuzz(
        check,
        text=written(PROCESSES).filter(lambda text: "\ufffd" not in text),
        pad=st.sampled_from([0, 0, 0, HELD]),
        sizes=SIZES,
    )


STATUS_LINES = st.one_of(
    st.sampled_from([200] * 6 + [201, 204, 301, 400, 401, 403, 404, 407, 429, 500, 503]).map(
        lambda status: f"HTTP/1.1 {status} OK"
    ),
    st.sampled_from(
        ["HTTP/1.0 200", "HTTP/1.1 999 X", "HTTP/1.1 101 X", "HTTP/2 200", "", "ICY 200"]
    ),
)
ANSWER_HEADERS = st.one_of(
    st.tuples(st.just("Content-Type"), CONTENT_TYPES),
    st.tuples(
        st.just("Retry-After"),
        WAITS.map(lambda text: text.encode("latin-1", "replace").decode("latin-1")),
    ),
    st.tuples(st.just("Content-Encoding"), st.sampled_from(["gzip", "deflate", "br", "x", ""])),
    st.tuples(st.just("Content-Length"), st.sampled_from(["0", "1", "x", "99999999999999999999"])),
    st.tuples(
        st.sampled_from(["Connection", "Set-Cookie", "X"]), st.text("close=;\x00é ", max_size=9)
    ),
)


@st.composite
def raw_answers(draw: st.DrawFn, content: st.SearchStrategy[bytes]) -> bytes:
    """Return the bytes that a server sends until it closes."""
    body = draw(damaged(content, most=2))
    lines = [draw(STATUS_LINES)]
    lines += [f"{name}: {value}" for name, value in draw(st.lists(ANSWER_HEADERS, max_size=3))]
    match draw(st.sampled_from(["length", "length", "chunks", "gzip", "deflate", "none"])):
        case "length":
            lines.append(f"Content-Length: {len(body)}")
        case "chunks":
            lines.append("Transfer-Encoding: chunked")
            body = draw(chunked(body))
        case "gzip":
            lines.append("Content-Encoding: gzip")
            body = gzip.compress(body, 1)
        case "deflate":
            lines.append("Content-Encoding: deflate")
            body = zlib.compress(body, 1)
    head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
    return draw(damaged(st.just(head), most=1)) + body


GOOD_TOKEN = b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"access_token":"t0ken"}'


class Answering:
    """A server that sends the bytes it is told, and closes."""

    def __init__(self) -> None:
        self.token = GOOD_TOKEN
        self.answer = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"POST /token"):
                await reader.readuntil(b"signicat-api")
            writer.write(self.token if head.startswith(b"POST /token") else self.answer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.transport.abort()


class Assure:
    """The client of the Assure API, and the server that it asks."""

    def __init__(self, server: Answering, client: Any, lines: LogCapture) -> None:
        self.server = server
        self.new_client = client
        self.lines = lines

    async def asked(self, answer: bytes, token: bytes = GOOD_TOKEN) -> Any:
        """The status, or the error; anything else is raised."""
        self.lines.entries.clear()
        self.server.answer, self.server.token = answer, token
        client = self.new_client()
        try:
            async with asyncio.timeout(20):
                status = await client.get_process("d-1", "p-1")
        except CallError as error:
            return error
        return status

    async def notified(self, answer: bytes) -> Any:
        self.lines.entries.clear()
        self.server.answer, self.server.token = answer, GOOD_TOKEN
        try:
            return await self.new_client().notify("d-1", "p-1")
        except CallError as error:
            return error


@asynccontextmanager
async def assure() -> AsyncIterator[Assure]:
    serving, lines = Answering(), LogCapture()
    log = structlog.wrap_logger(
        None, processors=[lines], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    server = await asyncio.start_server(serving.serve, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    endpoint = endpoint_at(base)
    async with server, build_session(trusting(""), 16) as session:
        budget = Budget(1_000_000, clock=Clock())
        yield Assure(serving, lambda: AssureClient(endpoint, session, budget, Clock(), log), lines)


@pytest.fixture(scope="module")
def at_assure(loop: LoopInThread) -> Assure:
    return loop.enter(assure())


def check_status(found: ProcessStatus) -> None:
    assert flaw_of_text(found.status) is None
    for text in (found.provider, found.process_type):
        assert text is None or flaw_of_text(text) is None
    for at in (found.created_at, found.updated_at):
        assert at is None or 0 <= at < 2**63


def check_error(error: CallError) -> None:
    assert str(error) == error.code
    assert error.code.isascii()
    assert error.code.isprintable()
    assert len(error.code) < 40
    assert error.http_status is None or 100 <= error.http_status <= 999
    assert error.retry_after is None or 0 <= error.retry_after <= LONGEST
    assert error.__cause__ is None is error.__context__


@pytest.mark.share(1.5)
def test_any_answer_of_get_process_is_a_status_or_a_named_error(
    fuzz: Fuzz, loop: LoopInThread, at_assure: Assure
) -> None:
    def check(answer: bytes) -> None:
        found = loop.run(at_assure.asked(answer))
        if isinstance(found, CallError):
            check_error(found)
        else:
            check_status(found)
        assert loop.failures == []

    fuzz(check, answer=raw_answers(bodies(PROCESSES)) | st.binary(max_size=60))


@pytest.mark.share(0.75)
def test_any_answer_of_the_token_endpoint_is_a_token_or_a_named_error(
    fuzz: Fuzz, loop: LoopInThread, at_assure: Assure
) -> None:
    good = b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"status":"accepted"}'

    def check(token: bytes) -> None:
        found = loop.run(at_assure.asked(good, token))
        if isinstance(found, CallError):
            check_error(found)
        else:
            assert found.status == "accepted"
        assert loop.failures == []

    fuzz(check, token=raw_answers(bodies(TOKENS)) | st.binary(max_size=60))


@pytest.mark.share(0.75)
def test_any_answer_of_notify_is_a_status_code_or_a_named_error(
    fuzz: Fuzz, loop: LoopInThread, at_assure: Assure
) -> None:
    def check(answer: bytes) -> None:
        found = loop.run(at_assure.notified(answer))
        if isinstance(found, CallError):
            check_error(found)
        else:
            assert 200 <= found < 300
        assert loop.failures == []

    fuzz(check, answer=raw_answers(bodies(PROCESSES)))
