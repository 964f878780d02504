"""Answers of Assure that are damaged where nobody needs them, or very long."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from reconciler.assure import ProcessStatus, TokenUnavailable
from reconciler.outbound.errors import CallError, UnreadableAnswer
from tests.assure.test_assure_wire import OK, Wire, client_against, failure, says

if TYPE_CHECKING:
    from tests.assure.conftest import Room

GOOD = b'{"provider": "onfido", "status": "accepted", "name": "x", "finalResult": {"a": 1}}'
PICTURE = b'{"picture": "' + b"iVBORw0KGgo\\/" * 200_000 + b'", '
"""2.6 MB, with slashes escaped as PHP does."""


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\xef\xbb\xbf" + GOOD, "application/json"),
        (GOOD.decode().encode("utf-16"), "application/json"),
        (GOOD.replace(b'"x"', b'"M\xfcller"'), "application/json"),
        (GOOD.replace(b'"x"', b'"M\xfcller"'), "application/json; charset=iso-8859-1"),
        (GOOD.replace(b'"x"', b'"a\tb\nc\x00d"'), "application/json"),
        (GOOD.replace(b'"x"', b"NaN"), "application/json"),
        (GOOD.replace(b'"x"', b'"\\ud800"'), "application/json"),
        (GOOD.replace(b'"x"', b"9" * 5000), "application/json"),
        (GOOD.replace(b'"x"', b'"C:\\Users"'), "text/plain"),
        (GOOD.replace(b'{"a": 1}', b'{"status": "rejected", "n": NaN}'), "application/json"),
        (GOOD + b"\n<!-- cached -->", "text/html"),
        (GOOD, "application/json;\xa0*"),
        (PICTURE + GOOD[1:], "application/json"),
        (GOOD[:-1] + b', "finalResult": {"photo": "' + PICTURE[13:] + b'"rest": 1}}', "x/y"),
    ],
)
@pytest.mark.fault("Assure", "damages what nobody needs")
async def test_the_status_is_read_whatever_is_wrong_with_the_rest(
    room: Room, body: bytes, content_type: str
) -> None:
    room.assure.body = body
    room.assure.headers = {"Content-Type": content_type}
    seen = await room.client().get_process("d1", "p1")
    assert (seen.status, seen.provider, seen.has_final_result) == ("accepted", "onfido", True)


@pytest.mark.parametrize(
    "provider", [b'"M\xfcller"', b'"a\tb"', b'"C:\\Users"', b'"a", "provider": "b"', b'"a" x']
)
async def test_a_damaged_member_that_can_be_done_without_is_left_out(
    room: Room, provider: bytes
) -> None:
    room.assure.body = GOOD.replace(b'"onfido"', provider).replace(b'"x"', b"NaN")
    seen = await room.client().get_process("d1", "p1")
    assert seen == ProcessStatus("accepted", True, None, None, None, None)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"status": "accepted", "status": "rejected"}', "not_json"),
        (b'{"status": "acc\xffepted"}', "no_status"),
        (b'{"status": "acc\tepted"}', "no_status"),
        (b'{"finalResult": {"status": "accepted"}}', "no_status"),
        (PICTURE + b'"other": 1}', "no_status"),
        (PICTURE + GOOD[1:-1], "not_json"),
        (PICTURE + b'"status": "accepted", "status": "rejected"}', "not_json"),
    ],
)
@pytest.mark.fault("Assure", "leaves its status in doubt", "no_status")
async def test_a_status_in_doubt_is_not_read(room: Room, body: bytes, code: str) -> None:
    room.assure.body = body
    with pytest.raises(UnreadableAnswer) as caught:
        await room.client().get_process("d1", "p1")
    assert caught.value.code == code


async def test_a_long_answer_is_read_without_being_kept() -> None:
    piece, count = b"A" * 65536, 400
    head, end = b'{"finalResult": {"p": "', b'"}, "status": "accepted"}'

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = len(head) + len(piece) * count + len(end)
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % length + head)
        for _n in range(count):
            writer.write(piece)
            await writer.drain()
        writer.write(end)

    async with client_against(Wire(answer), timeout=60.0) as client:
        await client.ensure_token()
        tracemalloc.start()
        try:
            seen = await client.get_process("d1", "p1")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (seen.status, seen.has_final_result) == ("accepted", True)
    assert peak < 8 * 1024 * 1024


async def test_an_answer_whose_end_is_lost_after_the_object_counts() -> None:
    body = b'{"status": "accepted"}'
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)
    async with client_against(Wire(says(head + body + b"\r\n", then_closes=True))) as client:
        assert (await client.get_process("d1", "p1")).status == "accepted"
    assert (await failure(Wire(says(head + body[:-1], then_closes=True)))).code == "disconnected"


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"access_token": "token-1", "expires_in": 1000}',
        b'{"access_token": "token-1", "expires_in": "1000", "org": "M\xfcller"}',
        b'{"access_token": "token-1", "expires_in": " 1000.0 ", "note": "a\tb"}',
        b'{"access_token": "token-1", "expires_in": 1000, "scope": NaN} ',
    ],
)
async def test_a_token_is_read_whatever_is_wrong_with_the_rest(room: Room, body: bytes) -> None:
    room.assure.token_body = body
    client = room.client()
    await client.ensure_token()
    room.clock.move(799)
    await client.ensure_token()
    assert len(room.assure.token_requests) == 1
    room.clock.move(1)
    await client.ensure_token()
    assert len(room.assure.token_requests) == 2


@pytest.mark.parametrize("expires_in", ["", "soon", "1e3", "-5", "9" * 400, None, [1], True])
async def test_a_lifetime_that_is_no_number_counts_as_five_minutes(
    room: Room, expires_in: object
) -> None:
    answer = {"access_token": "token-1", "expires_in": expires_in}
    room.assure.token_body = json.dumps(answer).encode()
    client = room.client()
    await client.ensure_token()
    room.clock.move(239)
    await client.ensure_token()
    assert len(room.assure.token_requests) == 1


async def test_a_token_in_doubt_is_not_used(room: Room) -> None:
    room.assure.token_body = b'{"access_token": "a", "access_token": "b"}'
    with pytest.raises(CallError) as caught:
        await room.client().ensure_token()
    assert type(caught.value) is TokenUnavailable
