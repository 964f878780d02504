"""Get process and Notify: what is sent, and what each answer becomes."""

from __future__ import annotations

import gzip
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
import pytest

from reconciler.assure import (
    Endpoint,
    Forbidden,
    NotFound,
    ProcessStatus,
    Refused,
    ServerError,
    Throttled,
)
from reconciler.outbound.body import MAX_ANSWER
from reconciler.outbound.errors import CallError, TransportError, UnreadableAnswer

if TYPE_CHECKING:
    from tests.assure.conftest import Room


async def test_a_process_is_read(room: Room) -> None:
    process = await room.client().get_process("d1", "p1")

    created = datetime(2019, 9, 19, 22, 10, 56, tzinfo=UTC)
    assert process == ProcessStatus(
        status="accepted",
        has_final_result=True,
        provider="onfido",
        process_type="idDocument",
        created_at=int(created.timestamp()) * 1000,
        updated_at=int(created.timestamp()) * 1000 + 789,
    )
    assert room.assure.calls == [("GET", "/assure/dossiers/d1/processes/p1", "token-1")]


async def test_what_a_request_carries(room: Room) -> None:
    room.assure.headers = {"Set-Cookie": "sid=1; Path=/"}
    # By name: from a bare address no jar would take a cookie.
    client = room.client(base_url=room.endpoint.base_url.replace("127.0.0.1", "localhost"))
    await client.get_process("d1", "p1")
    await client.get_process("d1", "p1")

    assert room.assure.seen["User-Agent"].startswith("assure-reconciler/")
    assert room.assure.seen["Accept"] == "application/json"
    assert "Cookie" not in room.assure.seen


async def test_notify_uses_the_configured_method_and_path(room: Room) -> None:
    room.assure.status = 204
    room.assure.body = b""
    client = room.client(notify_method="PUT", notify_path="/n/{processId}?of={dossierId}")

    assert await client.notify("d1", "p1") == 204
    assert room.assure.calls == [("PUT", "/n/p1?of=d1", "token-1")]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_to_notify_is_a_success_whatever_its_body(room: Room, status: int) -> None:
    room.assure.status = status
    room.assure.body = b"" if status == 204 else b"\xff not json"
    assert await room.client().notify("d1", "p1") == status


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("a/b", "a%2Fb"),
        ("a b?c#d", "a%20b%3Fc%23d"),
        ("50%2F", "50%252F"),
        ("{processId}", "%7BprocessId%7D"),
        ("ü", "%C3%BC"),
        ("a~b-c_d.e", "a~b-c_d.e"),
    ],
)
async def test_ids_arrive_as_one_segment_as_they_are(room: Room, value: str, segment: str) -> None:
    client = room.client(base_url=f"{room.endpoint.base_url}/base/")
    await client.get_process(value, value)
    await client.notify(value, value)

    path = f"/base/assure/dossiers/{segment}/processes/{segment}"
    assert [call[1] for call in room.assure.calls] == [path, f"{path}/notify"]


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (403, Forbidden, "http_403"),
        (404, NotFound, "http_404"),
        (407, TransportError, "proxy"),
        (409, Refused, "http_409"),
        (422, Refused, "http_422"),
        (429, Throttled, "http_429"),
        (500, ServerError, "http_500"),
        (503, ServerError, "http_503"),
        (302, UnreadableAnswer, "redirect"),
        (304, UnreadableAnswer, "redirect"),
        (599, ServerError, "http_599"),
        (999, UnreadableAnswer, "http_999"),
    ],
)
@pytest.mark.parametrize("verb", ["get_process", "notify"])
async def test_each_status_is_an_error_of_its_class(
    room: Room, status: int, error: type[CallError], code: str, verb: str
) -> None:
    room.assure.status = status
    room.assure.body = b""
    room.assure.headers = {"Location": "/elsewhere", "Retry-After": "7"}
    client = room.client()
    with pytest.raises(CallError) as caught:
        await getattr(client, verb)("d1", "p1")

    assert type(caught.value) is error
    assert str(caught.value) == caught.value.code == code
    assert caught.value.http_status == status
    assert caught.value.retry_after == (7 if error in {Throttled, ServerError} else None)
    assert len(room.assure.calls) == 1


async def test_a_retry_after_date_counts_from_now(room: Room) -> None:
    room.assure.status = 429
    room.assure.headers = {"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT"}
    room.clock.wall = round(datetime(2015, 10, 21, 7, 28, tzinfo=UTC).timestamp() * 1000)
    with pytest.raises(Throttled) as caught:
        await room.client().get_process("d1", "p1")
    assert caught.value.retry_after == 30


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not_json"),
        (b"<html>canary-body</html>", "not_json"),
        (b'{"status": "accepted"', "not_json"),
        (b'{"status": "\xff"}', "no_status"),
        (b"[" * 5000, "not_json"),
        (b'["accepted"]', "not_json"),
        (b"{}", "no_status"),
        (b'{"status": null}', "no_status"),
        (b'{"status": 7}', "no_status"),
        (b'{"status": ""}', "no_status"),
        (b'{"status": "acc\\u0000epted"}', "no_status"),
        (b'{"status": "acc\\u0085epted"}', "no_status"),
        (orjson.dumps({"status": "x" * 256}), "no_status"),
    ],
)
async def test_an_answer_without_a_usable_status_is_unreadable(
    room: Room, body: bytes, code: str
) -> None:
    room.assure.body = body
    with pytest.raises(UnreadableAnswer) as caught:
        await room.client().get_process("d1", "p1")
    assert caught.value.code == code
    assert caught.value.http_status == 200


@pytest.mark.parametrize("odd", [7, None, "", "x" * 256, "a\x00b", ["x"]])
async def test_other_members_that_are_not_as_expected_are_left_out(room: Room, odd: object) -> None:
    names = ("provider", "processType", "createdAt", "updatedAt")
    room.assure.body = orjson.dumps({"status": "x" * 255, **dict.fromkeys(names, odd)})

    process = await room.client().get_process("d1", "p1")
    assert process == ProcessStatus("x" * 255, False, None, None, None, None)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T00:00:01", 1000),
        ("1970-01-01T02:00:01.5+02:00", 1500),
        ("1970-01-01T00:00:00.0019999Z", 1),
        ("0001-01-01T00:00:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("yesterday", None),
    ],
)
async def test_times_are_read_as_utc_milliseconds(
    room: Room, text: str, milliseconds: int | None
) -> None:
    room.assure.body = orjson.dumps({"status": "pending", "createdAt": text})
    assert (await room.client().get_process("d1", "p1")).created_at == milliseconds


async def test_a_final_result_that_is_null_is_none(room: Room) -> None:
    room.assure.body = b'{"status": "x", "finalResult": null}'
    assert not (await room.client().get_process("d1", "p1")).has_final_result


async def test_a_compressed_answer_is_read(room: Room) -> None:
    room.assure.body = gzip.compress(b'{"status": "accepted"}')
    room.assure.headers = {"Content-Encoding": "gzip"}
    assert (await room.client().get_process("d1", "p1")).status == "accepted"


async def test_an_answer_that_is_not_compressed_as_it_says_is_unreadable(room: Room) -> None:
    room.assure.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(UnreadableAnswer, match="bad_encoding"):
        await room.client().get_process("d1", "p1")


async def test_an_answer_of_the_longest_length_is_read_and_one_byte_more_is_not(
    room: Room,
) -> None:
    body = b'{"status": "accepted", "picture": "'
    client = room.client(timeout=60.0)
    room.assure.body = body.ljust(MAX_ANSWER - 2, b"A") + b'"}'
    assert (await client.get_process("d1", "p1")).status == "accepted"

    room.assure.body = body.ljust(MAX_ANSWER - 1, b"A") + b'"}'
    with pytest.raises(UnreadableAnswer, match="too_large"):
        await client.get_process("d1", "p1")


def test_the_fingerprint_follows_base_url_and_path_only() -> None:
    endpoint = Endpoint("https://a", "t", "i", "s", "", "/p", "/n", "POST", 1.0)
    assert len(endpoint.fingerprint()) == 16
    assert replace(endpoint, client_secret="x", notify_path="/m").fingerprint() == (
        endpoint.fingerprint()
    )
    assert replace(endpoint, base_url="https://b").fingerprint() != endpoint.fingerprint()
    assert replace(endpoint, process_path="/q").fingerprint() != endpoint.fingerprint()
