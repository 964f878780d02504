from typing import Any

import aiohttp
import pytest

from reconciler.simulator import Faults, Simulator, World

pytestmark = pytest.mark.usefixtures("simulator")


async def ask(
    assure: aiohttp.ClientSession, method: str, path: str, body: object = None
) -> tuple[int, Any]:
    async with assure.request(method, f"/_simulator/{path}", json=body) as response:
        return response.status, await response.json()


async def test_a_process_is_made_of_nothing(world: World, assure: aiohttp.ClientSession) -> None:
    http_status, made = await ask(assure, "POST", "processes", {})

    assert http_status == 201
    process = world.processes[made["processId"]]
    assert made == process.truth()
    assert (made["status"], made["finalStatus"], made["callback"]) == ("pending", None, "send")


async def test_an_array_of_processes_keeps_what_it_says(
    world: World, assure: aiohttp.ClientSession
) -> None:
    wanted: list[dict[str, object]] = [
        {"dossierId": "d", "processId": "one", "provider": "webid", "processType": "videoid"},
        {"processId": "two", "finalStatus": "not_matched", "finishIn": 0},
        {"processId": "three", "callback": "lose", "notified": "lose"},
    ]

    http_status, made = await ask(assure, "POST", "processes", wanted)
    await world.until(lambda: world.processes["two"].finished)

    assert http_status == 201
    for asked, given in zip(wanted, made, strict=True):
        assert asked.items() - {("finishIn", 0)} <= given.items()
    assert world.processes["two"].status == "not_matched"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ([], None),
        (7, "item 0: not a JSON object"),
        ([{}, {"finalState": "x"}], "item 1: unknown: finalState; known: dossierId, processId"),
        ({"finishIn": -1}, "item 0: finishIn: not seconds, 0 or more"),
        ({"callback": "maybe"}, 'item 0: callback: neither "send" nor "lose"'),
        ({"processId": ""}, "item 0: processId: not a text with at least one character"),
    ],
)
async def test_a_wrong_process_is_named_and_none_is_made(
    world: World, assure: aiohttp.ClientSession, body: object, detail: str | None
) -> None:
    http_status, answer = await ask(assure, "POST", "processes", body)

    if detail is None:
        assert (http_status, answer) == (201, [])
    else:
        assert (http_status, answer["error"]) == (400, "bad_request")
        assert answer["detail"].startswith(detail)
    assert world.processes == {}


@pytest.mark.parametrize(
    "wanted", [[{"processId": "known"}], [{"processId": "new"}, {"processId": "new"}]]
)
async def test_a_taken_process_id_is_a_conflict(
    world: World, assure: aiohttp.ClientSession, wanted: object
) -> None:
    world.add(process_id="known")

    http_status, answer = await ask(assure, "POST", "processes", wanted)

    assert (http_status, answer["error"]) == (409, "conflict")
    assert list(world.processes) == ["known"]


async def test_a_process_is_finished_by_hand(world: World, assure: aiohttp.ClientSession) -> None:
    world.add(process_id="p", final_status="failed")
    world.add(process_id="q")

    assert (await ask(assure, "POST", "processes/q/finish", {"status": "canceled"}))[1][
        "status"
    ] == "canceled"
    async with assure.post("/_simulator/processes/p/finish") as response:
        assert (response.status, (await response.json())["status"]) == (200, "failed")
    assert (await ask(assure, "POST", "processes/p/finish", {}))[0] == 409
    assert (await ask(assure, "POST", "processes/p/finish", {"status": 1}))[0] == 400
    assert (await ask(assure, "POST", "processes/unknown/finish", {}))[0] == 404


async def test_the_truth_is_listed(world: World, assure: aiohttp.ClientSession) -> None:
    world.add(final_status="rejected", finish_in=1000)
    world.add()

    http_status, listed = await ask(assure, "GET", "processes")

    assert http_status == 200
    assert listed == [process.truth() for process in world.processes.values()]
    assert (listed[0]["status"], listed[0]["finalStatus"]) == ("pending", "rejected")


async def test_faults_are_updated_in_part(world: World, assure: aiohttp.ClientSession) -> None:
    world.faults.latency = 0.5

    http_status, answer = await ask(
        assure, "PUT", "faults", {"server_error": 0.25, "missing": ["b", "a"]}
    )

    assert http_status == 200
    assert answer == {
        **Faults().as_json(),
        "server_error": 0.25,
        "latency": 0.5,
        "missing": ["a", "b"],
    }
    assert (await ask(assure, "GET", "faults"))[1] == answer
    assert (world.faults.server_error, world.faults.missing) == (0.25, {"a", "b"})


@pytest.mark.parametrize("body", [{"sever_error": 1}, {"throttle": 3}, [], None])
async def test_a_wrong_fault_is_refused(
    world: World, assure: aiohttp.ClientSession, body: object
) -> None:
    http_status, answer = await ask(assure, "PUT", "faults", body)

    assert (http_status, answer["error"]) == (400, "bad_request")
    if body == {"sever_error": 1}:
        assert all(name in answer["detail"] for name in Faults().as_json())
    assert world.faults == Faults()


async def test_calls_are_counted_by_kind_and_status(
    world: World, assure: aiohttp.ClientSession
) -> None:
    process = world.add()
    path = f"/assure/dossiers/{process.dossier_id}/processes/{process.process_id}"
    for call in (assure.get(path), assure.get(path + "x"), assure.post(path + "/notify")):
        async with call:
            pass

    assert (await ask(assure, "GET", "calls"))[1] == {
        "counts": {"fetch": {"200": 1, "404": 1}, "notify": {"409": 1}},
        "mostPerSecond": 3,
        "mostInFlightOfOneProcess": 1,
        "mostAtOnce": 1,
    }


async def test_callbacks_can_be_aimed_while_running(
    world: World, simulator: Simulator, assure: aiohttp.ClientSession, received: list[Any]
) -> None:
    nowhere = f"{simulator.base_url}/no-such-path"

    assert (await ask(assure, "PUT", "callback", {"url": nowhere}))[0] == 200
    world.finish(world.add().process_id)
    await world.until(
        lambda: any(c.http_status == 404 for c in world.calls if c.kind == "callback")
    )

    assert received == []
    for wrong in ({"url": "ftp://x"}, {"url": 1}, {"address": "http://127.0.0.1/"}):
        assert (await ask(assure, "PUT", "callback", wrong))[0] == 400


async def test_the_control_api_is_not_among_the_calls(
    world: World, assure: aiohttp.ClientSession
) -> None:
    for path in ("calls", "faults", "nothing-here"):
        await ask(assure, "GET", path)

    assert world.calls == []
