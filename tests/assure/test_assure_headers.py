"""Answers whose headers are very long, or broken behind a status line that can be read."""

import asyncio

import pytest

from reconciler.assure import NotFound, ServerError, Throttled
from reconciler.outbound.errors import UnreadableAnswer
from tests.assure.test_assure_wire import OK, Exchange, Wire, client_against, failure, hangs, says

POLICY = b"Content-Security-Policy: " + b"a" * 60_000 + b"\r\n"
COOKIES = b"".join(b"Set-Cookie: waf%d=%s\r\n" % (n, b"x" * 200) for n in range(200))
BODY = b'Content-Length: 21\r\n\r\n{"status":"accepted"}'
BROKEN = [
    b"X-Long: " + b"a" * 200_000 + b"\r\n\r\n",
    b"".join(b"X-%d: 1\r\n" % n for n in range(1000)) + b"\r\n",
    b"X-Null: a\0b\r\n\r\n",
    b": no name\r\n\r\n",
    b"Content-Length: 5\r\nContent-Length: many\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\nno size\r\n",
    b"Content-Le",
    b"",
]


@pytest.mark.parametrize("head", [POLICY, COOKIES, COOKIES + POLICY])
@pytest.mark.fault("Assure", "sends very long headers")
async def test_a_status_behind_long_headers_is_read(head: bytes) -> None:
    async with client_against(Wire(says(OK + head + BODY))) as client:
        assert (await client.get_process("d1", "p1")).status == "accepted"
        assert await client.notify("d1", "p1") == 200


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"])
@pytest.mark.parametrize("rest", BROKEN)
async def test_a_notify_that_was_accepted_counts_whatever_follows(
    rest: bytes, interim: bytes
) -> None:
    answer = interim + b"HTTP/1.1 202 Accepted\r\n" + rest
    async with client_against(Wire(says(answer, then_closes=True))) as client:
        assert await client.notify("d1", "p1") == 202


async def test_a_notify_that_was_accepted_counts_when_its_headers_do_not_end() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 202 Accepted\r\nX-A: 1\r\n")
        await hangs(reader, writer)

    async with client_against(Wire(answer), timeout=0.2) as client:
        await client.ensure_token()
        assert await client.notify("d1", "p1") == 202


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"404 Not Found", NotFound),
        (b"429 Too Many Requests", Throttled),
        (b"503 Service Unavailable", ServerError),
    ],
)
async def test_a_failure_is_told_by_its_status_line_too(line: bytes, error: type) -> None:
    found = await failure(Wire(says(b"HTTP/1.1 " + line + b"\r\n" + BROKEN[0], then_closes=True)))
    assert (type(found), found.http_status) == (error, int(line[:3]))


@pytest.mark.parametrize(
    "answer",
    [
        says(OK + BROKEN[0], then_closes=True),
        says(b"HTTP/1.1 20", then_closes=True),
        says(b"HTTP/1.1 2000 OK\r\n\r\n", then_closes=True),
        says(b"HTTP/9.9 200 OK\r\n" + BROKEN[0], then_closes=True),
        says(b"SSH-2.0-OpenSSH_9.2 200 OK\r\n", then_closes=True),
    ],
)
async def test_without_a_status_line_or_a_body_get_process_has_no_answer(answer: Exchange) -> None:
    error = await failure(Wire(answer))
    assert isinstance(error, UnreadableAnswer) or error.code == "disconnected"


async def test_the_status_of_one_answer_is_not_taken_for_the_next() -> None:
    async with client_against(Wire(says(OK + BODY))) as client:
        await client.ensure_token()
    answers = [says(OK + BODY), says(b"no HTTP\r\n\r\n", then_closes=True)]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers.pop(0)(reader, writer)

    wire = Wire(answer)
    async with client_against(wire) as client:
        assert (await client.get_process("d1", "p1")).status == "accepted"
        with pytest.raises(UnreadableAnswer, match="not_http"):
            await client.notify("d1", "p1")
    assert wire.connections == 1
