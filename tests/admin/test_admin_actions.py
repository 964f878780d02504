"""GET /v1/actions: who did what by the API and by commands."""

from typing import Any

from reconciler.store.actions import Action
from reconciler.store.open import Store


async def test_what_the_api_did_is_an_action_and_a_registration_is_none(
    client: Any, played: Any
) -> None:
    await client.register({"dossierId": "d1", "processId": "p1"})
    await client("POST", "/v1/processes/p1/recheck", json={"verb": "fetch"})

    answer = await client.get("/v1/actions")

    assert (answer.status, answer.body) == (
        200,
        {
            "items": [
                {
                    "at": "2026-03-01T00:00:00.000Z",
                    "by": "api",
                    "action": "recheck",
                    "processId": "p1",
                    "detail": "fetch",
                }
            ],
            "nextCursor": None,
        },
    )
    assert len(played.logged("operator_action")) == 1


async def test_a_forgotten_process_is_named_by_no_action(
    client: Any, played: Any, store: Store
) -> None:
    await client.register({"dossierId": "d1", "processId": "p1"})
    await client("POST", "/v1/processes/p1/recheck")
    played.clock.wall += 1000
    await client("DELETE", "/v1/processes/p1")

    items = (await client.get("/v1/actions")).body["items"]

    assert [(each["action"], each["processId"]) for each in items] == [
        ("forget", None),
        ("recheck", None),
    ]
    assert await store.actions.take_unlogged(9) == []  # this daemon has logged them itself


async def test_they_are_paged_and_begin_at_a_time(client: Any, played: Any, store: Store) -> None:
    many = [Action(played.now + number, "ada", "recheck", f"p{number}") for number in range(3)]
    await store.actions.write(many, is_logged=False)

    first = await client.get("/v1/actions?limit=2")
    rest = await client.get(f"/v1/actions?limit=2&cursor={first.body['nextCursor']}")
    late = await client.get("/v1/actions?since=2026-03-01T00:00:00.002Z")
    wrong = await client.get("/v1/actions?since=2026-03-01T00:00:00+02:00")

    found = [each["processId"] for each in first.body["items"] + rest.body["items"]]
    assert found == ["p2", "p1", "p0"]
    assert [each["processId"] for each in late.body["items"]] == ["p2"]
    assert (wrong.status, wrong.body["error"]) == (400, "bad_since")
