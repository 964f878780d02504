"""Each answer of Assure means something for the process, and for all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from reconciler.assure import (
    AssureClient,
    ProcessStatus,
    Refused,
    ServerError,
    TokenUnavailable,
)
from reconciler.ledger import State, Verb
from reconciler.ledger.policy import MINUTE, SECOND
from reconciler.outbound.errors import CallError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.reconcile.stage import Instance, Play

FETCH_ONLY = (Verb.FETCH,)


@pytest.fixture(autouse=True)
def _fetch_only(play: Play) -> None:
    play.set_policy(ladder=FETCH_ONLY)


@pytest.mark.parametrize(
    ("faults", "error"),
    [
        ({"drop": True}, "disconnected"),
        ({"down": True}, "http_503"),
        ({"garbage": True}, "not_json"),
        ({"redirect": True}, "redirect"),
        ({"unauthorized_once": 1000}, "http_401"),
        ({"forbidden": {"p1"}}, "http_403"),
    ],
)
async def test_a_failed_call_is_made_again_ever_later_three_times_and_then_the_round_is_over(
    play: Play, one: Instance, faults: dict[str, Any], error: str
) -> None:
    await play.register("warm-up", callback="lose")
    play.world.finish("warm-up", "accepted")
    await play.rest(15 * MINUTE)  # a token is at hand, and the path is proven
    await play.register()
    play.world.faults.update(faults)

    waits = []
    await play.rest(15 * MINUTE)
    for _ in range(4):
        failed = await play.process()
        assert (failed.state, failed.last_error) == (State.OVERDUE, error)
        assert failed.next_check_at is not None
        waits.append(failed.next_check_at - play.clock.now())
        await play.rest(waits[-1])

    assert waits == [30 * SECOND, 60 * SECOND, 120 * SECOND, 5 * MINUTE]
    assert (await play.process()).fetch_attempts == 5
    assert one.breaker.state == "closed"
    assert not any(call.kind == "other" for call in play.world.calls)


async def test_a_closed_port_is_a_failed_call(play: Play, one: Instance) -> None:
    await play.register("warm-up", callback="lose")
    play.world.finish("warm-up", "accepted")
    await play.rest(15 * MINUTE)
    await play.register(callback="lose")
    await play.simulator.stop()

    await play.rest(15 * MINUTE)
    failed = await play.process()
    assert (failed.state, failed.last_error) == (State.OVERDUE, "connection_refused")
    assert (failed.fetch_attempts, failed.tries) == (1, 1)

    await play.simulator.start()
    play.world.finish("p1", "accepted")
    await play.rest(30 * SECOND)
    assert (await play.process()).state is State.SETTLED


async def test_after_the_tries_of_notify_get_process_is_next(play: Play, one: Instance) -> None:
    play.set_policy(ladder=(Verb.NOTIFY, Verb.FETCH))
    play.world.faults.notify_status = 503
    await play.register(callback="lose")
    play.world.finish("p1", "accepted")

    await play.rest(15 * MINUTE)
    for wait in (30, 60, 120):
        await play.rest(wait * SECOND)

    assert play.calls() == ["notify"] * 4 + ["fetch"]
    assert (await play.process()).state is State.SETTLED
    assert (await play.history()).count("notify_failed") == 4


@pytest.mark.parametrize("status", [404, 409, 400])
@pytest.mark.fault("Assure", "refuses Notify", "notify_refused")
async def test_a_refused_notify_is_an_answer_and_get_process_follows_at_once(
    play: Play, one: Instance, status: int
) -> None:
    play.set_policy(ladder=(Verb.NOTIFY, Verb.FETCH))
    play.world.faults.notify_status = status
    ids = await play.register_many([f"p{n}" for n in range(8)], callback="lose")
    for process_id in ids:
        play.world.finish(process_id, "accepted")

    await play.rest(15 * MINUTE)

    for process_id in ids:
        assert play.calls(process_id) == ["notify", "fetch"]
        assert (await play.process(process_id)).state is State.SETTLED
    assert (await play.history("p0"))[2] == "notify_refused"
    assert play.logged("breaker_opened") == []


@pytest.mark.fault("Assure", "answers with 16 MiB")
async def test_a_status_in_an_answer_of_16_mib_settles(play: Play, one: Instance) -> None:
    await play.register(callback="lose")
    play.world.finish("p1", "accepted")
    play.world.faults.huge = True

    await play.rest(15 * MINUTE)

    settled = await play.process()
    assert (settled.state, settled.status) == (State.SETTLED, "accepted")


@pytest.mark.fault("Assure", "refuses a token once")
async def test_a_stale_token_is_replaced_within_the_call(play: Play, one: Instance) -> None:
    await play.register(callback="lose")
    play.world.finish("p1", "accepted")
    play.world.faults.unauthorized_once = 1

    await play.rest(15 * MINUTE)

    assert play.tokens() == 2
    settled = await play.process()
    assert (settled.state, settled.fetch_attempts) == (State.SETTLED, 1)


@pytest.mark.fault("Assure", "answers 403 for one process", "http_403")
async def test_a_403_for_one_process_stops_no_other(play: Play, one: Instance) -> None:
    ids = await play.register_many([f"p{n}" for n in range(20)], callback="lose")
    for process_id in ids:
        play.world.finish(process_id, "accepted")
    play.world.faults.forbidden = {"p7"}

    await play.rest(15 * MINUTE)

    states = {process_id: (await play.process(process_id)).state for process_id in ids}
    assert states.pop("p7") is State.OVERDUE
    assert set(states.values()) == {State.SETTLED}
    assert one.breaker.state == "closed"


async def test_a_403_for_all_opens_the_breaker(play: Play, one: Instance) -> None:
    ids = await play.register_many([f"p{n}" for n in range(20)])
    play.world.faults.forbidden = set(ids)

    await play.tick(15 * MINUTE)
    await play.until(lambda: one.breaker.state == "open")
    assert play.logged("breaker_opened")[0]["reason"] == "http_403"


@pytest.mark.fault("Assure", "answers any other 4xx to Get process", "fetch_refused")
async def test_a_refused_get_process_ends_the_round_and_counts_against_nobody(
    play: Play, one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AssureClient, "get_process", failing(Refused("http_410", http_status=410)))
    ids = await play.register_many([f"p{n}" for n in range(8)])

    await play.rest(15 * MINUTE)

    refused = await play.process(ids[0])
    assert (refused.state, refused.last_error, refused.round) == (State.OVERDUE, "http_410", 1)
    assert refused.next_check_at == play.clock.now() + 5 * MINUTE
    assert one.breaker.state == "closed"


@pytest.mark.fault("Assure", "answers 503 and asks to wait", "http_503")
async def test_a_server_error_that_asks_to_wait_delays_its_process_alone(
    play: Play, one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    get_process = AssureClient.get_process
    busy = ServerError("http_503", http_status=503, retry_after=3600.0)

    async def sometimes(
        client: AssureClient, dossier_id: str, process_id: str, *, until: float
    ) -> ProcessStatus:
        if process_id == "p1":
            raise busy
        return await get_process(client, dossier_id, process_id, until=until)

    monkeypatch.setattr(AssureClient, "get_process", sometimes)
    await play.register_many(["p1", "p2"], callback="lose")
    play.world.finish("p2", "accepted")

    await play.rest(15 * MINUTE)

    assert (await play.process("p2")).state is State.SETTLED
    waits = await play.process("p1")
    assert (waits.state, waits.last_error) == (State.OVERDUE, "http_503")
    assert waits.next_check_at == play.clock.now() + 60 * MINUTE
    assert one.budget.paused_for == 0
    assert play.logged("assure_throttled") == []


async def test_a_token_endpoint_that_asks_to_wait_for_an_hour_holds_all_calls_for_a_minute(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await play.daemon(real_time=False)

    async def ensure_token(_client: AssureClient) -> None:
        raise TokenUnavailable("http_503", http_status=503, retry_after=3600.0)

    monkeypatch.setattr(AssureClient, "ensure_token", ensure_token)
    await play.register("p1")
    await play.tick(15 * MINUTE)
    await play.until(lambda: play.logged("assure_throttled"))

    assert [line["wait_s"] for line in play.logged("assure_throttled")] == [60.0]
    assert one.budget.paused_for == 60.0


async def test_a_bug_in_a_call_is_that_call_s_failure_and_stops_no_other(
    play: Play, one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    get_process = AssureClient.get_process

    async def sometimes(
        client: AssureClient, dossier_id: str, process_id: str, *, until: float
    ) -> ProcessStatus:
        if process_id == "p1":
            raise RuntimeError("a bug")
        return await get_process(client, dossier_id, process_id, until=until)

    monkeypatch.setattr(AssureClient, "get_process", sometimes)
    await play.register_many(["p1", "p2"], callback="lose")
    play.world.finish("p2", "accepted")

    await play.rest(15 * MINUTE)

    assert (await play.process("p1")).last_error == "internal_error"
    assert (await play.process("p2")).state is State.SETTLED
    assert [line["process_id"] for line in play.logged("call_crashed")] == ["p1"]


def failing(error: CallError) -> Callable[..., Awaitable[ProcessStatus]]:
    """A Get process that always fails so."""

    async def get_process(_client: AssureClient, *_about: str, until: float) -> ProcessStatus:
        raise error

    return get_process
