"""GET /v1/processes and /v1/status: pages, filters, numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from reconciler.config import Settings, rules
from reconciler.store.inbox import Receipt
from reconciler.store.instances import Instance

if TYPE_CHECKING:
    from reconciler.store.open import Store
    from tests.admin.conftest import Client, Played

RULES = rules(Settings())
STATES = ["waiting", "reported", "overdue", "settled", "gone", "expired"]


def claim(process_id: str, at: int) -> Receipt:
    return Receipt(f"r-{process_id}", at, process_id, "d1", "accepted", (), bytes(32))


async def register(client: Client, *process_ids: str) -> None:
    answer = await client.register(*({"dossierId": "d1", "processId": key} for key in process_ids))
    assert answer.status == 201


async def test_an_empty_ledger_is_an_empty_page(client: Client) -> None:
    answer = await client.get("/v1/processes")

    assert (answer.status, answer.body) == (200, {"items": [], "nextCursor": None})


@pytest.mark.parametrize("limit", [1, 3, 7, 8])
async def test_paging_shows_each_process_once_the_newest_first(
    client: Client, played: Played, limit: int
) -> None:
    for number in range(4):  # two at each moment, so that the id decides too
        await register(client, f"p{number}a", f"p{number}b")
        played.clock.wall += 1

    seen = []
    path = f"/v1/processes?limit={limit}"
    while True:
        page = (await client.get(path)).body
        assert 0 < len(page["items"]) <= limit
        seen += [item["processId"] for item in page["items"]]
        if page["nextCursor"] is None:
            break
        path = f"/v1/processes?limit={limit}&cursor={quote(page['nextCursor'])}"

    assert seen == ["p3b", "p3a", "p2b", "p2a", "p1b", "p1a", "p0b", "p0a"]


async def test_what_is_registered_while_somebody_pages_does_not_shift_the_pages(
    client: Client, played: Played
) -> None:
    await register(client, "p1", "p2", "p3")
    first = (await client.get("/v1/processes?limit=2")).body
    played.clock.wall += 1
    await register(client, "p4")

    second = await client.get(f"/v1/processes?limit=2&cursor={first['nextCursor']}")

    assert [item["processId"] for item in first["items"]] == ["p3", "p2"]
    assert [item["processId"] for item in second.body["items"]] == ["p1"]


async def test_a_page_has_a_hundred_when_no_limit_is_given(client: Client) -> None:
    await register(client, *(f"p{number:03}" for number in range(101)))

    page = (await client.get("/v1/processes")).body

    assert len(page["items"]) == 100
    assert page["nextCursor"] is not None


@pytest.mark.parametrize(
    "limit", ["0", "1001", "-1", "", "ten", "1.5", "+1", "%201", "%D9%A3", "9" * 5000]
)
async def test_a_limit_that_is_no_number_from_1_to_1000_is_refused(
    client: Client, limit: str
) -> None:
    answer = await client.get(f"/v1/processes?limit={limit}")

    assert (answer.status, answer.body["error"]) == (400, "bad_limit")


@pytest.mark.parametrize("limit", ["1", "1000", "0007"])
async def test_limits_from_1_to_1000_are_taken(client: Client, limit: str) -> None:
    assert (await client.get(f"/v1/processes?limit={limit}")).status == 200


@pytest.mark.parametrize("cursor", ["", "x", "MQ==", "bm9ib2R5IHAx", "%C3%A9", "%ff", "AAAA"])
async def test_a_cursor_that_was_not_given_out_is_refused(client: Client, cursor: str) -> None:
    answer = await client.get(f"/v1/processes?cursor={cursor}")

    assert (answer.status, answer.body["error"]) == (400, "bad_cursor")


async def test_the_state_filter_shows_only_that_state(
    client: Client, played: Played, store: Store
) -> None:
    await register(client, "p1", "p2")
    await store.inbox.put_many([claim("p1", played.now)])
    await store.inbox.apply([claim("p1", played.now)], RULES, played.now)

    pages = {state: (await client.get(f"/v1/processes?state={state}")).body for state in STATES}

    shown = {state: [item["processId"] for item in page["items"]] for state, page in pages.items()}
    assert shown == {**{state: [] for state in STATES}, "waiting": ["p2"], "reported": ["p1"]}
    reported = pages["reported"]["items"][0]
    assert (reported["status"], reported["claimedStatus"]) == (None, "accepted")
    assert reported["callbackAt"] == "2026-03-01T00:00:00.000Z"


@pytest.mark.parametrize("state", ["", "Waiting", "all", "settled,gone"])
async def test_an_unknown_state_is_refused_and_the_known_ones_are_named(
    client: Client, state: str
) -> None:
    answer = await client.get(f"/v1/processes?state={state}")

    assert (answer.status, answer.body["error"]) == (400, "bad_state")
    assert answer.body["detail"] == f"state must be one of {', '.join(STATES)}"


async def test_a_mistyped_filter_is_refused_instead_of_showing_everything(client: Client) -> None:
    answer = await client.get("/v1/processes?sate=overdue")

    assert (answer.status, answer.body["error"]) == (400, "bad_query")
    assert answer.body["detail"] == (
        "unknown 'sate'; use state, settledSince, endedSince, limit, cursor"
    )


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
async def test_several_states_are_shown_together_the_newest_first(
    client: Client, played: Played, store: Store, limit: int
) -> None:
    ids = [f"3065980B-F26B-4EC2-8987-7833B7781DA{number}" for number in range(4)]
    for number, process_id in enumerate(ids):
        await register(client, process_id)
        if number % 2:
            await store.inbox.put_many([claim(process_id, played.now)])
            await store.inbox.apply([claim(process_id, played.now)], RULES, played.now)
        played.clock.wall += number % 2  # two of one moment

    seen = []
    path = f"/v1/processes?state=waiting&state=reported&state=gone&limit={limit}"
    following = ""
    while True:
        page = (await client.get(path + following)).body
        assert 0 < len(page["items"]) <= limit
        seen += [item["processId"] for item in page["items"]]
        if page["nextCursor"] is None:
            break
        following = f"&cursor={quote(page['nextCursor'])}"

    assert seen == ids[::-1]


@pytest.mark.parametrize(
    "query",
    ["limit=1&limit=2", "limit=1&limit=1", "cursor=a&cursor=b", "settledSince=a&settledSince=b"],
)
async def test_a_member_of_the_query_that_comes_twice_is_refused(
    client: Client, query: str
) -> None:
    answer = await client.get(f"/v1/processes?{query}")

    assert answer.status == 400


@pytest.mark.parametrize("name", ["settledSince", "endedSince"])
@pytest.mark.parametrize(
    ("text", "written"),
    [("2026-01-31T12:00:00+02:00", "%2B02:00"), ("2026-01-31T12:00:00+0200", "%2B0200")],
)
async def test_a_plus_that_was_not_escaped_is_explained(
    client: Client, name: str, text: str, written: str
) -> None:
    wrong = await client.get(f"/v1/processes?{name}={text}")
    right = await client.get(f"/v1/processes?{name}={quote(text)}")

    assert (wrong.status, wrong.body["error"]) == (400, f"bad_{name}")
    assert wrong.body["detail"].endswith(f"; a + in a URL is a blank: write {written}, or Z")
    assert right.status == 200


async def test_the_status_of_a_new_store_has_no_numbers_but_this_daemon(client: Client) -> None:
    answer = await client.get("/v1/status")

    assert answer.status == 200
    assert answer.body == {
        "states": dict.fromkeys(STATES, 0),
        "oldestOverdueSeconds": None,
        "oldestReportedSeconds": None,
        "lastCallbackAt": None,
        "lastSweepAt": None,
        "breaker": "closed",
        "outbox": {"pending": 0, "dead": 0},
        "spooled": 0,
        "instances": [
            {
                "id": "this-one",
                "host": "here",
                "pid": 1,
                "version": "1.2.3",
                "startedAt": "2026-02-28T23:58:30.000Z",
                "heartbeatAt": "2026-03-01T00:00:00.000Z",
                "breaker": "closed",
            }
        ],
    }


async def test_the_status_counts_states_and_ages_and_what_the_daemons_say(
    client: Client, played: Played, store: Store
) -> None:
    await register(client, "p1", "p2", "p3")
    received = claim("p1", played.now)
    await store.inbox.put_many([received])
    await store.inbox.apply([received], RULES, played.now)
    overdue_at = played.now + 15 * 60_000
    await store.work.turn_overdue(RULES, overdue_at, 1)
    played.clock.wall = overdue_at + 90_500
    for number, breaker in enumerate(("closed", "open", "probing")):
        await store.instances.beat(
            Instance(
                instance_id=f"i{number}",
                host="node1",
                pid=100 + number,
                version="0.1.0",
                started_at=played.now - 1000,
                heartbeat_at=played.now,
                last_sweep_at=played.now - number,
                breaker=breaker,
                spooled=number,
            )
        )

    body = (await client.get("/v1/status")).body

    assert body["states"] == {**dict.fromkeys(STATES, 0), "waiting": 1, "reported": 1, "overdue": 1}
    assert body["oldestOverdueSeconds"] == 90.5
    assert body["oldestReportedSeconds"] == 900 + 90.5
    assert body["lastCallbackAt"] == "2026-03-01T00:00:00.000Z"
    assert body["lastSweepAt"] == "2026-03-01T00:16:30.500Z"
    assert body["breaker"] == "open"
    assert body["spooled"] == 3
    assert sorted(instance["id"] for instance in body["instances"]) == [
        "i0",
        "i1",
        "i2",
        "this-one",
    ]
    assert {"host", "pid", "version", "startedAt", "heartbeatAt", "breaker", "id"} == set(
        body["instances"][0]
    )
