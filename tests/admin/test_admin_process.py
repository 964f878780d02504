"""/v1/processes/{processId}: look, recheck, forget; and ids that are awkward in a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from tests.admin.conftest import Client, Played

UNKNOWN = (404, {"error": "unknown_process", "detail": "no such process is on the ledger"})
AWKWARD = [
    "a/b",
    "/",
    "a%2Fb",
    "100%",
    "a b+c",
    "ä/ö?x=1#y&z",
    "日本",
    "{processId}",
    "recheck",
    "...",
    "a\\b",
    "a;b,c=d@e:f!$'()*[]|^`~\"<>",
    "\U0001f600",
    "%252e",
    "é",  # e and a combining accent: another id than the single character
]


async def register(client: Client, process_id: str) -> None:
    answer = await client.register({"dossierId": "d1", "processId": process_id})
    assert answer.status == 201


def path(process_id: str) -> str:
    return f"/v1/processes/{quote(process_id, safe='')}"


@pytest.mark.parametrize("process_id", AWKWARD)
async def test_an_awkward_id_is_found_rechecked_and_forgotten_by_its_encoded_path(
    client: Client, process_id: str
) -> None:
    await register(client, process_id)
    await register(client, "other")

    shown = await client.get(path(process_id))
    rechecked = await client("POST", f"{path(process_id)}/recheck")
    forgotten = await client("DELETE", path(process_id))
    gone = await client.get(path(process_id))

    assert (shown.status, shown.body["processId"]) == (200, process_id)
    assert (rechecked.status, rechecked.body["processId"]) == (202, process_id)
    assert forgotten.status == 204
    assert gone.status == 404
    assert (await client.get("/v1/processes/other")).status == 200


@pytest.mark.parametrize(
    "raw", ["nobody", "%2E", "%2e%2e", "%ff", "%00", "a%0Ab", "p" * 256, "%ED%A0%80", "%zz", "%"]
)
async def test_an_id_that_is_not_on_the_ledger_is_404_whatever_it_is(
    client: Client, raw: str
) -> None:
    shown = await client.get(f"/v1/processes/{raw}")
    rechecked = await client("POST", f"/v1/processes/{raw}/recheck")
    forgotten = await client("DELETE", f"/v1/processes/{raw}")

    for answer in (shown, rechecked, forgotten):
        assert (answer.status, answer.body) == UNKNOWN


async def test_a_recheck_makes_it_due_now_and_stands_in_the_timeline_and_the_log(
    client: Client, played: Played
) -> None:
    await register(client, "p1")
    played.clock.wall += 1000
    await played.due.wait()

    answer = await client("POST", "/v1/processes/p1/recheck", json={"verb": "fetch"})

    assert (answer.status, answer.body) == (202, {"processId": "p1", "verb": "fetch"})
    shown = (await client.get("/v1/processes/p1")).body
    assert shown["nextCheckAt"] == "2026-03-01T00:00:01.000Z"
    assert shown["timeline"][-1] == {
        "at": "2026-03-01T00:00:01.000Z",
        "event": "operator_action",
        "action": "recheck",
        "by": "api",
        "verb": "fetch",
    }
    [line] = played.logged("operator_action")
    assert (line["process_id"], line["action"], line["by"]) == ("p1", "recheck", "api")
    assert played.due.is_rung


@pytest.mark.parametrize("body", [None, b"", b"{}", b'{"verb": null}'])
async def test_a_recheck_without_a_verb_takes_what_is_next(
    client: Client, body: bytes | None
) -> None:
    await register(client, "p1")

    answer = await client("POST", "/v1/processes/p1/recheck", data=body)

    assert (answer.status, answer.body) == (202, {"processId": "p1", "verb": None})


async def test_a_chunked_recheck_without_content_is_one_without_a_body(client: Client) -> None:
    async def nothing() -> Any:
        return
        yield b""

    await register(client, "p1")

    answer = await client("POST", "/v1/processes/p1/recheck", data=nothing())

    assert answer.status == 202


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", "not_json"),
        (b"[]", "bad_request"),
        (b'"fetch"', "bad_request"),
        (b"null", "bad_request"),
        (b'{"verbs": "fetch"}', "bad_request"),
        (b'{"verb": "delete"}', "bad_verb"),
        (b'{"verb": "FETCH"}', "bad_verb"),
        (b'{"verb": ""}', "bad_verb"),
        (b'{"verb": ["fetch"]}', "bad_verb"),
        (b'{"verb": {}}', "bad_verb"),
        (b'{"verb": true}', "bad_verb"),
    ],
)
async def test_a_bad_recheck_is_400_and_changes_nothing(
    client: Client, body: bytes, error: str
) -> None:
    await register(client, "p1")

    answer = await client("POST", "/v1/processes/p1/recheck", data=body)

    assert (answer.status, answer.body["error"]) == (400, error)
    assert len((await client.get("/v1/processes/p1")).body["timeline"]) == 1


async def test_what_was_forgotten_can_be_registered_anew_without_its_past(
    client: Client, played: Played
) -> None:
    await register(client, "p1")
    await client("POST", "/v1/processes/p1/recheck")
    await client("DELETE", "/v1/processes/p1")
    again = await client("DELETE", "/v1/processes/p1")

    await client.register({"dossierId": "d2", "processId": "p1"})

    assert (again.status, again.body) == UNKNOWN
    shown = (await client.get("/v1/processes/p1")).body
    assert shown["dossierId"] == "d2"
    assert [entry["event"] for entry in shown["timeline"]] == ["process_registered"]
    assert [line["action"] for line in played.logged("operator_action")] == ["recheck", "forget"]
