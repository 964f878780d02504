from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import orjson
import pytest

from reconciler.runtime.tolerant_json import read_members
from reconciler.simulator import CANARIES, SimProcess, World
from reconciler.simulator.faults import FaultError
from reconciler.simulator.odd_json import ODDITIES

Ask = Callable[[SimProcess], Coroutine[Any, Any, tuple[int, Any]]]


def finished(world: World, status: str = "accepted") -> SimProcess:
    return world.finish(world.add().process_id, status)


async def test_a_pending_process_is_told_without_a_result(world: World, fetch: Ask) -> None:
    process = world.add(provider="readid", created_at=1_568_931_056_000)

    assert await fetch(process) == (
        200,
        {
            "provider": "readid",
            "processType": "ready",
            "status": "pending",
            "processId": process.process_id,
            "dossierId": process.dossier_id,
            "createdAt": "2019-09-19T22:10:56Z",
            "updatedAt": "2019-09-19T22:10:56Z",
        },
    )


async def test_a_finished_process_is_told_with_personal_data(world: World, fetch: Ask) -> None:
    http_status, body = await fetch(finished(world, "rejected"))

    assert (http_status, body["status"]) == (200, "rejected")
    assert set(body["finalResult"].values()) == set(CANARIES)


async def test_a_process_is_found_only_in_its_own_dossier(world: World, fetch: Ask) -> None:
    process = world.add()
    elsewhere = world.add(dossier_id="elsewhere")
    elsewhere.process_id = process.process_id

    assert (await fetch(elsewhere))[0] == 404
    assert (await fetch(process))[0] == 200


@pytest.mark.parametrize(
    ("knob", "http_status"),
    [
        ({"down": True}, 503),
        ({"server_error": 1.0}, 503),
        ({"throttle": 1.0}, 429),
        ({"redirect": True}, 302),
    ],
)
async def test_a_fault_of_the_platform_hits_fetch_and_notify(
    world: World,
    assure: aiohttp.ClientSession,
    knob: dict[str, object],
    http_status: int,
) -> None:
    process = finished(world)
    world.faults.update(knob)
    path = f"/assure/dossiers/{process.dossier_id}/processes/{process.process_id}"

    for call in (
        assure.get(path, allow_redirects=False),
        assure.post(f"{path}/notify", allow_redirects=False),
    ):
        async with call as response:
            assert response.status == http_status

    assert [(c.kind, c.http_status) for c in world.calls] == [
        ("fetch", http_status),
        ("notify", http_status),
    ]


async def test_a_redirect_that_is_followed_is_recorded(
    world: World, assure: aiohttp.ClientSession
) -> None:
    process = world.add()
    world.faults.redirect = True

    async with assure.get(
        f"/assure/dossiers/{process.dossier_id}/processes/{process.process_id}"
    ) as response:
        assert response.status == 404

    assert [(c.kind, c.http_status) for c in world.calls] == [("fetch", 302), ("other", 404)]


async def test_throttling_sends_retry_after_as_it_is_set(
    world: World, assure: aiohttp.ClientSession
) -> None:
    process = world.add()
    path = f"/assure/dossiers/{process.dossier_id}/processes/{process.process_id}"

    world.faults.update({"throttle": 1, "retry_after": "Thu, 01 Jan 2099 00:00:00 GMT"})
    async with assure.get(path) as response:
        assert response.headers["Retry-After"] == "Thu, 01 Jan 2099 00:00:00 GMT"
    world.faults.update({"retry_after": ""})
    async with assure.get(path) as response:
        assert "Retry-After" not in response.headers


async def test_forbidden_and_missing_hit_the_named_processes_alone(
    world: World, fetch: Ask
) -> None:
    forbidden, missing, other = world.add(), world.add(), world.add()
    world.faults.update({"forbidden": [forbidden.process_id], "missing": [missing.process_id]})

    assert [(await fetch(p))[0] for p in (forbidden, missing, other)] == [403, 404, 200]


async def test_errors_carry_a_canary(world: World, fetch: Ask) -> None:
    world.faults.down = True

    _, body = await fetch(world.add())

    assert set(body) >= {"error", "detail"}
    assert CANARIES[0] in orjson.dumps(body).decode()


async def test_unauthorized_once_counts_itself_down(world: World, fetch: Ask) -> None:
    process = world.add()
    world.faults.unauthorized_once = 2

    assert [(await fetch(process))[0] for _ in range(3)] == [401, 401, 200]


async def test_garbage_is_200_and_not_json(world: World, fetch: Ask) -> None:
    world.faults.garbage = True

    with pytest.raises(ValueError, match=r"JSON|Unterminated|Expecting"):
        await fetch(world.add())
    assert world.calls[0].http_status == 200


async def test_a_huge_answer_is_16_mib_of_json_without_a_length(
    world: World, assure: aiohttp.ClientSession
) -> None:
    process = finished(world, "failed")
    world.faults.huge = True

    async with assure.get(
        f"/assure/dossiers/{process.dossier_id}/processes/{process.process_id}"
    ) as response:
        body = await response.read()

    assert response.content_length is None
    assert len(body) > 16 * 1024 * 1024
    assert orjson.loads(body)["status"] == "failed"


async def test_notify_of_an_unfinished_process_is_a_conflict(world: World, notify: Ask) -> None:
    assert (await notify(world.add()))[0] == 409


@pytest.mark.parametrize("http_status", [404, 409, 500])
async def test_notify_can_be_refused_for_every_process(
    world: World, fetch: Ask, notify: Ask, http_status: int
) -> None:
    process = finished(world)
    world.faults.notify_status = http_status

    assert (await notify(process))[0] == http_status
    assert process.callbacks_planned == 1, "a refused Notify plans nothing"
    assert (await fetch(process))[0] == 200


async def test_notify_can_say_yes_with_another_status(world: World, notify: Ask) -> None:
    process = finished(world)

    assert await notify(process) == (204, "")
    world.faults.notify_status = 202
    assert await notify(process) == (202, "")
    assert process.callbacks_planned == 3


async def test_unknown_paths_and_methods_are_json_errors_and_recorded(
    world: World, assure: aiohttp.ClientSession
) -> None:
    for method, path, http_status in (
        ("GET", "/oidc/other", 404),
        ("DELETE", "/assure/dossiers/d/processes/p", 405),
    ):
        async with assure.request(method, path) as response:
            assert response.status == http_status
            assert set(await response.json()) == {"error", "detail"}

    assert [(c.kind, c.http_status) for c in world.calls] == [("other", 404), ("other", 405)]


@pytest.mark.parametrize("name", [name for name in ODDITIES if name])
async def test_an_answer_can_be_no_strict_json_though_its_members_can_be_read(
    world: World, assure: aiohttp.ClientSession, name: str
) -> None:
    process = finished(world, "failed")
    world.faults.update({"odd_json": name})

    async with assure.get(
        f"/assure/dossiers/{process.dossier_id}/processes/{process.process_id}"
    ) as response:
        body = await response.read()

    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(body)
    assert read_members(body, frozenset({"status"})).values == {"status": "failed"}


def test_an_oddity_that_nobody_knows_is_refused_with_the_known_ones(world: World) -> None:
    with pytest.raises(FaultError, match="odd_json: 'bom' is not \"\" or one of mark, utf_16"):
        world.faults.update({"odd_json": "bom"})


async def test_every_answer_can_have_a_large_header(
    world: World, assure: aiohttp.ClientSession
) -> None:
    process = world.add()
    world.faults.large_headers = True

    with pytest.raises(aiohttp.ClientResponseError, match="400"):  # above the limit of a client
        await assure.get(f"/assure/dossiers/{process.dossier_id}/processes/{process.process_id}")
