"""The outbox over HTTP, and pulling results instead of being told."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reconciler.ledger import Callback, Policy, Registration, Rules, iso
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.open import Store
from reconciler.store.outbox import Attempt

RULES = Rules(default=Policy(confirm_callbacks=False), deliver=True)


@pytest.fixture
async def settled(store: Store, played: Any) -> list[str]:
    """Five processes, settled a second apart, each with its delivery."""
    keys = [f"p{n}" for n in range(5)]
    for key in keys:
        played.clock.wall += 1000
        registration = Registration(key, f"d-{key}")
        await store.registry.register([registration], RULES, played.now, whole=True)
        claim = Callback(f"r-{key}", key, f"d-{key}", "accepted", played.now)
        await store.work.record([(key, claim)], RULES, played.now)
    return keys


async def test_deliveries_are_listed_newest_first_and_page_by_page(
    client: Any, settled: list[str]
) -> None:
    first = await client.get("/v1/deliveries?limit=3")
    rest = await client.get(f"/v1/deliveries?limit=3&cursor={first.body['nextCursor']}")
    found = [item["processId"] for item in first.body["items"] + rest.body["items"]]
    assert found == list(reversed(settled))
    assert rest.body["nextCursor"] is None
    assert first.body["items"][0].keys() == {
        *("id", "processId", "type", "state", "attempts"),
        *("createdAt", "nextAttemptAt", "deliveredAt", "lastError"),
    }


async def test_a_delivery_is_sent_again_under_its_id(
    client: Any, store: Store, settled: list[str], played: Any
) -> None:
    claimed = await store.outbox.claim(10, owner="me", now=played.now, length=1000)
    dead = [Attempt(row, DeliveryState.DEAD, "http_410") for row in claimed]
    await store.outbox.record(dead, owner="me", now=played.now)
    assert len((await client.get("/v1/deliveries?state=dead")).body["items"]) == len(settled)
    assert (await client.get("/v1/status")).body["outbox"] == {"pending": 0, "dead": 5}
    assert not played.news.is_rung
    answer = await client("POST", f"/v1/deliveries/{claimed[0].webhook_id}/redeliver")
    assert (answer.status, answer.body) == (202, {"id": claimed[0].webhook_id})
    assert played.news.is_rung
    (pending,) = (await client.get("/v1/deliveries?state=pending")).body["items"]
    assert (pending["id"], pending["attempts"]) == (claimed[0].webhook_id, 0)
    (line,) = played.logged("operator_action")
    assert (line["action"], line["by"]) == ("redeliver", "api")
    assert (await client.get("/v1/status")).body["outbox"] == {"pending": 1, "dead": 4}


async def test_an_unknown_delivery_is_404(client: Any) -> None:
    answer = await client("POST", "/v1/deliveries/msg_none/redeliver")
    assert (answer.status, answer.body["error"]) == (404, "unknown_delivery")


async def test_results_can_be_pulled_in_the_order_in_which_they_were_settled(
    client: Any, settled: list[str], played: Any
) -> None:
    second = played.now - 3000
    since = iso(second)
    first = await client.get(f"/v1/processes?settledSince={since}&limit=2")
    cursor = first.body["nextCursor"]
    rest = await client.get(f"/v1/processes?settledSince={since}&limit=2&cursor={cursor}")
    found = [item["processId"] for item in first.body["items"] + rest.body["items"]]
    assert found == settled[1:]


@pytest.fixture
async def gone(store: Store, store_path: Path, played: Any, settled: list[str]) -> str:
    """A process that Assure does not know, after the five."""
    played.clock.wall += 1000
    registration = Registration("p9", "d9")
    await store.registry.register([registration], RULES, played.now, whole=True)
    with closing(sqlite3.connect(store_path)) as connection, connection:
        connection.execute(
            "UPDATE processes SET state = 'gone', state_since = ?, ended_at = ?,"
            " next_check_at = NULL WHERE process_id = 'p9'",
            (played.now, played.now),
        )
    return "p9"


async def test_whoever_polls_by_the_end_sees_gone_ones_too_and_no_end_twice(
    client: Any, settled: list[str], gone: str
) -> None:
    found, following = [], ""
    while True:
        page = await client.get(f"/v1/processes?endedSince=2020-01-01T00:00:00Z&limit=2{following}")
        found += page.body["items"]
        if page.body["nextCursor"] is None:
            break
        following = f"&cursor={page.body['nextCursor']}"

    assert [item["processId"] for item in found] == [*settled, gone]
    ends = [item["endedAt"] for item in found]
    assert ends == sorted(ends)
    later = await client.get(f"/v1/processes?endedSince={ends[-1]}")
    assert [item["processId"] for item in later.body["items"]] == [gone]


async def test_ends_can_be_limited_to_states(client: Any, settled: list[str], gone: str) -> None:
    path = "/v1/processes?endedSince=2020-01-01T00:00:00Z"
    for states, ids in (
        ("&state=gone", [gone]),
        ("&state=settled", settled),
        ("&state=gone&state=settled", [*settled, gone]),
        ("&state=expired", []),
    ):
        page = await client.get(path + states)
        assert [item["processId"] for item in page.body["items"]] == ids


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("settledSince=2020-01-01T00:00:00Z&state=gone", "use endedSince"),
        ("settledSince=2020-01-01T00:00:00Z&state=settled&state=expired", "use endedSince"),
        ("settledSince=2020-01-01T00:00:00Z&state=overdue", "use endedSince"),
        ("endedSince=2020-01-01T00:00:00Z&state=overdue", "none of that state has ended"),
        (
            "endedSince=2020-01-01T00:00:00Z&settledSince=2020-01-01T00:00:00Z",
            "exclude each other",
        ),
    ],
)
async def test_a_query_that_could_find_nothing_is_refused(
    client: Any, query: str, hint: str
) -> None:
    answer = await client.get(f"/v1/processes?{query}")

    assert (answer.status, answer.body["error"]) == (400, "bad_query")
    assert hint in answer.body["detail"]


@pytest.mark.parametrize("text", ["yesterday", "2026-01-31T12:00:00"])
async def test_a_time_without_zone_is_refused(client: Any, text: str) -> None:
    answer = await client.get(f"/v1/processes?settledSince={text}")
    assert answer.status == 400
    assert "settledSince" in answer.body["detail"]
