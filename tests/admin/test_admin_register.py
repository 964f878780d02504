"""POST /v1/processes: what is taken, what is not, and what is counted."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.inbound.checks import Rejection, check_text

if TYPE_CHECKING:
    from tests.admin.conftest import Client, Played, Reject

MEMBERS = [
    "processId", "dossierId", "provider", "processType", "reference", "state", "status",
    "settledBy", "createdAt", "registeredAt", "callbackAt", "claimedStatus", "settledAt",
    "revision", "nextCheckAt", "notifyAttempts", "fetchAttempts", "lastError", "endedAt",
]  # fmt: skip

FULL = {
    "dossierId": "d1",
    "processId": "p1",
    "provider": "onfido",
    "processType": "idDocument",
    "reference": "order 17 / Müller\u00a0GmbH",
    "createdAt": "2026-02-28T22:00:00+01:00",
}


def named(process_id: str, dossier_id: str = "d1") -> dict[str, Any]:
    return {"dossierId": dossier_id, "processId": process_id}


async def test_one_object_is_registered_with_everything_that_it_says(
    client: Client, played: Played
) -> None:
    answer = await client("POST", "/v1/processes", json=FULL)
    shown = await client.get("/v1/processes/p1")

    assert (answer.status, answer.body) == (201, {"created": 1, "known": 0})
    timeline = shown.body.pop("timeline")
    assert [entry["event"] for entry in timeline] == ["process_registered"]
    assert timeline[0] == {
        "at": "2026-03-01T00:00:00.000Z",
        "event": "process_registered",
        "by": "api",
    }
    assert list(shown.body) == MEMBERS
    assert {name: shown.body[name] for name in FULL} == {
        **FULL,
        "createdAt": "2026-02-28T21:00:00.000Z",
    }
    assert shown.body["state"] == "waiting"
    assert shown.body["registeredAt"] == "2026-03-01T00:00:00.000Z"
    assert shown.body["nextCheckAt"] == "2026-02-28T21:15:00.000Z"
    assert played.due.is_rung
    assert [line["process_id"] for line in played.logged("process_registered")] == ["p1"]


async def test_the_same_again_is_200_and_changes_nothing(client: Client, played: Played) -> None:
    await client.register(FULL)
    before = (await client.get("/v1/processes/p1")).body
    played.clock.wall += 60_000

    answer = await client.register(FULL)

    assert (answer.status, answer.body) == (200, {"created": 0, "known": 1})
    assert (await client.get("/v1/processes/p1")).body == before


async def test_an_array_is_201_when_any_is_new(client: Client) -> None:
    await client.register(named("p1"))

    answer = await client.register(named("p1"), named("p2"), named("p3"))

    assert (answer.status, answer.body) == (201, {"created": 2, "known": 1})


async def test_an_empty_array_is_200(client: Client) -> None:
    answer = await client.register()

    assert (answer.status, answer.body) == (200, {"created": 0, "known": 0})


async def test_the_same_process_twice_in_an_array_is_counted_once_as_new(client: Client) -> None:
    answer = await client.register(named("p1"), named("p1"))

    assert (answer.status, answer.body) == (201, {"created": 1, "known": 1})


async def test_a_second_registration_fills_what_was_empty(client: Client) -> None:
    await client.register(named("p1"))
    await client.register({**named("p1"), "provider": "readid"})

    assert (await client.get("/v1/processes/p1")).body["provider"] == "readid"


async def test_a_known_process_with_another_dossier_is_409(client: Client) -> None:
    await client.register(named("p1", "d1"))

    answer = await client("POST", "/v1/processes", json=named("p1", "d2"))

    assert (answer.status, answer.body["error"]) == (409, "other_dossier")
    assert answer.body["detail"].endswith(": p1")
    assert (await client.get("/v1/processes/p1")).body["dossierId"] == "d1"


async def test_an_array_with_a_conflict_registers_nothing_and_names_the_index(
    client: Client, played: Played
) -> None:
    await client.register(named("p1", "d1"))
    await played.due.wait()

    answer = await client.register(named("p0"), named("p1", "d2"), named("p2"))

    assert (answer.status, answer.body["error"]) == (409, "other_dossier")
    assert answer.body["detail"].endswith(": [1] p1")
    assert (await client.get("/v1/processes")).body["items"][0]["processId"] == "p1"
    assert len((await client.get("/v1/processes")).body["items"]) == 1
    assert not played.due.is_rung


async def test_two_dossiers_for_one_process_in_an_array_are_a_conflict(client: Client) -> None:
    answer = await client.register(named("p1", "d1"), named("p1", "d2"))

    assert answer.status == 409
    assert "[1] p1" in answer.body["detail"]
    assert (await client.get("/v1/processes/p1")).status == 404


async def test_an_array_with_bad_members_registers_nothing_and_names_each_index(
    client: Client, rejected: Reject
) -> None:
    reason = await rejected([named("p1"), {"dossierId": "d1"}, named("p2"), 7])

    assert reason == (
        "[1] processId is missing; [3] must be an object with dossierId and processId"
    )
    assert (await client.get("/v1/processes")).body["items"] == []


@pytest.mark.parametrize(
    ("member", "value", "reason"),
    [
        ("processId", None, "processId is missing"),
        ("dossierId", None, "dossierId is missing"),
        ("processId", "", "processId must not be empty"),
        ("processId", 17, "processId must be a string"),
        ("dossierId", ["d1"], "dossierId must be a string"),
        ("reference", False, "reference must be a string"),
        ("provider", "", "provider must not be empty"),
        ("processId", "p" * 256, "processId must not be longer than 255 characters"),
        ("dossierId", ".", "dossierId must not be . or .."),
        ("processId", "..", "processId must not be . or .."),
        ("processId", "a\nb", "processId must be UTF-8 without control characters"),
        ("reference", "\x1b[31m", "reference must be UTF-8 without control characters"),
        ("reference", "a\x85", "reference must be UTF-8 without control characters"),
        ("createdAt", "2026-03-01T00:00:00", "createdAt has no time zone; write one, such as "),
        ("createdAt", "2026-03-01", "createdAt has no time zone; write one, such as "),
        ("createdAt", "0001-01-01T00:00:00", "createdAt has no time zone; write one, such as "),
        ("createdAt", "yesterday", "createdAt is not an ISO 8601 time such as "),
        ("createdAt", "", "createdAt is not an ISO 8601 time such as "),
        ("createdAt", 1772323200, "createdAt is not an ISO 8601 time such as "),
        ("createdAt", "0001-01-01T00:00:00+14:00", "createdAt is not an ISO 8601 time such as "),
        ("status", "accepted", "unknown member 'status'; known are dossierId, "),
        ("processid", "p1", "unknown member 'processid'; known are dossierId, "),
    ],
)
async def test_a_bad_member_is_named(
    rejected: Reject, member: str, value: Any, reason: str
) -> None:
    said = await rejected({**named("p1"), member: value})

    assert said.startswith(reason)


@pytest.mark.parametrize("body", [b'"text"', b"17", b"null", b"true"])
async def test_what_is_neither_object_nor_array_is_refused(client: Client, body: bytes) -> None:
    answer = await client("POST", "/v1/processes", data=body)

    assert (answer.status, answer.body["error"]) == (400, "bad_registration")
    assert answer.body["detail"] == "must be an object with dossierId and processId"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"{'a': 1}", b"\xff", b"[" * 5000],
)
async def test_what_is_not_json_is_refused(client: Client, body: bytes) -> None:
    answer = await client("POST", "/v1/processes", data=body)

    assert (answer.status, answer.body["error"]) == (400, "not_json")


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"dossierId": "d1", "processId": "p1"}',
        '{"dossierId": "d1", "processId": "p1"}'.encode("utf-16"),
        b'{"dossierId": "d1", "processId": "p1"}\0',
    ],
)
async def test_a_body_is_read_though_it_is_no_strict_json(client: Client, body: bytes) -> None:
    answer = await client("POST", "/v1/processes", data=body)

    assert (answer.status, answer.body) == (201, {"created": 1, "known": 0})


async def test_a_content_type_that_is_none_does_no_harm(client: Client) -> None:
    body = b'{"dossierId": "d1", "processId": "p1"}'
    odd = {"Content-Type": "application/json;\xa0*"}

    answer = await client("POST", "/v1/processes", data=body, headers=odd)

    assert answer.status == 201


async def test_a_body_in_another_charset_is_read_where_it_says_so(client: Client) -> None:
    body = '{"dossierId": "d1", "processId": "p1", "reference": "Müller"}'.encode("latin-1")
    told = {"Content-Type": "application/json; charset=iso-8859-1"}

    silent = await client("POST", "/v1/processes", data=body)
    answer = await client("POST", "/v1/processes", data=body, headers=told)

    assert (silent.status, silent.body["error"]) == (400, "bad_registration")
    assert silent.body["detail"] == "reference must be UTF-8 without control characters"
    assert answer.status == 201
    assert (await client.get("/v1/processes/p1")).body["reference"] == "Müller"


@pytest.mark.parametrize("value", [b"NaN", b'"a\nb"', b'"\xff"'])
async def test_a_member_that_is_no_clean_text_is_named(client: Client, value: bytes) -> None:
    body = b'{"dossierId": "d1", "processId": "p1", "reference": ' + value + b"}"
    answer = await client("POST", "/v1/processes", data=body)

    assert (answer.status, answer.body["error"]) == (400, "bad_registration")
    assert answer.body["detail"].startswith("reference must be ")


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br"])
@pytest.mark.parametrize("path", ["/v1/processes", "/v1/processes/p1/recheck"])
async def test_a_body_in_an_unknown_encoding_is_415_in_json(
    client: Client, encoding: str, path: str
) -> None:
    answer = await client("POST", path, data=b"{}", headers={"Content-Encoding": encoding})

    assert (answer.status, answer.body["error"]) == (415, "unknown_encoding")


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("Deflate", zlib.compress)]
)
async def test_a_packed_body_is_unpacked(client: Client, encoding: str, pack: Any) -> None:
    packed = pack(json.dumps(named("p1")).encode())
    headers = {"Content-Encoding": encoding}

    whole = await client("POST", "/v1/processes", data=packed, headers=headers)
    cut = await client("POST", "/v1/processes", data=packed[:-6], headers=headers)
    plain = await client("POST", "/v1/processes", data=b"{}", headers=headers)
    bomb = await client(
        "POST", "/v1/processes", data=pack(b" " * (4 * 1024 * 1024 + 1)), headers=headers
    )

    assert (whole.status, whole.body) == (201, {"created": 1, "known": 0})
    assert (cut.status, cut.body["error"]) == (400, "not_packed")
    assert (plain.status, plain.body["error"]) == (400, "not_packed")
    assert (bomb.status, bomb.body["error"]) == (413, "too_large")


async def test_null_is_the_same_as_nothing_for_what_may_be_left_out(client: Client) -> None:
    nothing = dict.fromkeys(("provider", "processType", "reference", "createdAt"))

    answer = await client.register({**named("p1"), **nothing})

    assert answer.status == 201


@pytest.mark.parametrize("created", ["2026-03-01T00:04:59Z", "2026-03-01t00:05:00z"])
async def test_a_created_at_a_little_ahead_is_taken_as_now(client: Client, created: str) -> None:
    await client.register({**named("p1"), "createdAt": created})

    shown = (await client.get("/v1/processes/p1")).body
    assert shown["createdAt"] == "2026-03-01T00:00:00.000Z"
    assert shown["nextCheckAt"] == "2026-03-01T00:15:00.000Z"


@pytest.mark.parametrize("created", ["2026-03-01T00:05:00.001Z", "2027-03-01T00:00:00Z"])
async def test_a_created_at_further_ahead_is_refused(rejected: Reject, created: str) -> None:
    said = await rejected({**named("p1"), "createdAt": created})

    assert said == "createdAt lies in the future; it is 2026-03-01T00:00:00.000Z now"


async def test_a_created_at_from_long_ago_is_kept_and_due_at_once(client: Client) -> None:
    await client.register({**named("p1"), "createdAt": "0001-01-01T00:00:00Z"})

    assert (await client.get("/v1/processes/p1")).body["createdAt"] == "0001-01-01T00:00:00.000Z"


async def test_more_than_a_thousand_at_once_are_refused(client: Client) -> None:
    answer = await client.register(*(named(f"p{number}") for number in range(1001)))

    assert (answer.status, answer.body["error"]) == (400, "too_many")
    assert (await client.get("/v1/processes")).body["items"] == []


async def test_a_thousand_at_once_are_taken(client: Client) -> None:
    answer = await client.register(*(named(f"p{number}") for number in range(1000)))

    assert (answer.status, answer.body) == (201, {"created": 1000, "known": 0})


async def test_twenty_bad_members_are_named_and_no_more(rejected: Reject) -> None:
    reason = await rejected([{}] * 500)

    assert reason.count(";") == 19


async def test_registering_the_same_at_the_same_moment_creates_it_once(client: Client) -> None:
    answers = await asyncio.gather(*(client.register(named("p1")) for _ in range(20)))

    assert sorted(answer.status for answer in answers) == [200] * 19 + [201]
    timeline = (await client.get("/v1/processes/p1")).body["timeline"]
    assert [entry["event"] for entry in timeline] == ["process_registered"]


@pytest.mark.parametrize(
    "text", ["a\u200bb", "\u202eevil", "\u00a0", "\ue000", "\U0001f600", "x\x00", "\x9f", "p" * 256]
)
async def test_an_id_is_fit_to_register_exactly_when_the_listener_takes_it(
    client: Client, text: str
) -> None:
    try:
        check_text("processId", text)
        taken = 201
    except Rejection:
        taken = 400

    assert (await client.register(named(text))).status == taken
