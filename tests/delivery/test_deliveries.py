import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from reconciler.delivery import worker
from reconciler.ledger import Fetched, Lane, Policy, Recheck, Rules, Verb
from reconciler.runtime.clock import Clock
from reconciler.store.database import Database
from reconciler.store.errors import StoreError, StoreUnavailableError
from reconciler.store.outbox import Attempt, Leased, Outbox

HOUR = 3_600_000
MEMBERS = {
    "processId", "dossierId", "provider", "processType", "reference", "state", "status",
    "settledBy", "createdAt", "registeredAt", "callbackAt", "claimedStatus", "settledAt",
    "revision", "nextCheckAt", "notifyAttempts", "fetchAttempts", "lastError", "endedAt",
}  # fmt: skip
RULES = Rules(default=Policy(confirm_callbacks=False), deliver=True)


async def test_a_settled_process_is_told_with_all_that_the_contract_says(
    bench: Any, receiver: Any
) -> None:
    await bench.settle("p1")
    await bench.deliver_what_is_due()
    ((headers, body),) = receiver.got
    assert body["type"] == "process.settled"
    assert body["timestamp"] == "2027-01-15T08:00:00.000Z"
    assert body["data"].keys() == MEMBERS
    assert (body["data"]["status"], body["data"]["settledBy"]) == ("accepted", "callback")
    assert headers["Content-Type"] == "application/json"
    (row,) = await bench.rows()
    assert (row.state, row.attempts, row.delivered_at) == ("delivered", 1, bench.clock.wall)
    assert headers["webhook-id"] == row.webhook_id
    events = [entry.event for entry in await bench.store.views.timeline("p1")]
    assert events[-1] == "delivery_succeeded"


async def test_the_signature_verifies_with_the_public_library(bench: Any, receiver: Any) -> None:
    old = bench.secrets[0]
    bench.secrets = (old, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
    bench.clock.wall = Clock().now()  # the library refuses what is older than 5 minutes
    await bench.settle("p1")
    await bench.deliver_what_is_due()
    ((headers, body),) = receiver.got
    for secret in bench.secrets:
        assert Webhook(secret).verify(receiver.bodies[0], headers) == body


async def test_without_a_secret_deliveries_go_unsigned_but_named(bench: Any, receiver: Any) -> None:
    bench.secrets = ()
    bench.headers = {"X-Api-Key": "canary-key"}
    await bench.settle("p1")
    await bench.deliver_what_is_due()
    ((headers, _),) = receiver.got
    assert "webhook-signature" not in headers
    assert headers["webhook-id"].startswith("msg_")
    assert headers["X-Api-Key"] == "canary-key"
    assert "canary-key" not in str(bench.log)


async def test_no_row_is_written_while_no_url_is_set(bench: Any) -> None:
    await bench.settle("p1", rules=replace(RULES, deliver=False))
    assert await bench.rows() == []


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503, 301])
async def test_anything_but_2xx_is_tried_again_with_the_same_id_and_growing_waits(
    bench: Any, receiver: Any, status: int
) -> None:
    receiver.says(status, status, 204)
    await bench.settle("p1")
    waits = []
    for _ in range(2):
        await bench.deliver_what_is_due()
        (row,) = await bench.rows()
        assert (row.state, row.last_error) == ("pending", f"http_{status}")
        waits.append(row.next_attempt_at - bench.clock.wall)
        bench.clock.wall = row.next_attempt_at
    await bench.deliver_what_is_due()
    (row,) = await bench.rows()
    assert (row.state, row.attempts) == ("delivered", 3)
    assert 5_000 <= waits[0] <= 5_500
    assert 10_000 <= waits[1] <= 11_000
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len(set(receiver.bodies)) == 1
    assert len(bench.said("delivery_failed")) == 2
    assert len(bench.said("delivery_succeeded")) == 1


@pytest.mark.fault("the application", "asks to wait", "delivery_failed")
async def test_retry_after_is_honoured(bench: Any, receiver: Any) -> None:
    receiver.says(503, headers={"Retry-After": "120"})
    await bench.settle("p1")
    await bench.deliver_what_is_due()
    (row,) = await bench.rows()
    assert row.next_attempt_at - bench.clock.wall == 120_000


@pytest.mark.fault("the application", "answers 410", "delivery_dead")
async def test_410_ends_a_delivery_at_once(bench: Any, receiver: Any) -> None:
    receiver.says(410)
    await bench.settle("p1")
    await bench.deliver_what_is_due()
    (row,) = await bench.rows()
    assert (row.state, row.last_error, row.next_attempt_at) == ("dead", "http_410", None)
    (line,) = bench.said("delivery_dead")
    assert line["level"] == "error"
    assert (await bench.store.views.counts()).deliveries_dead == 1


@pytest.mark.fault("the application", "is away for days", "delivery_dead")
async def test_a_delivery_is_given_up_after_its_time(bench: Any, receiver: Any) -> None:
    receiver.says(500)
    await bench.settle("p1")
    for _ in range(100):
        bench.clock.at += 3600  # an open breaker's probe is due by then
        await bench.deliver_what_is_due()
        (row,) = await bench.rows()
        if row.state == "dead":
            break
        bench.clock.wall = row.next_attempt_at
    assert row.state == "dead"
    assert bench.clock.wall >= row.created_at + 72 * HOUR
    assert bench.clock.wall < row.created_at + 79 * HOUR
    assert len(receiver.got) == row.attempts


async def test_a_correction_never_overtakes_the_settling(bench: Any, receiver: Any) -> None:
    receiver.says(500)
    await bench.settle("p1", "p2")
    await bench.deliver_what_is_due()
    await _correct(bench, "p1", "rejected")
    receiver.says(200)
    await bench.settle("later")
    async with bench.delivering():
        await bench.until(lambda rows: rows[-1].state == "delivered", ring=True)
    assert [row.state for row in await bench.rows()] == ["pending"] * 3 + ["delivered"]
    bench.clock.wall += HOUR
    await bench.deliver_what_is_due()
    assert receiver.types("p1")[-2:] == ["process.settled", "process.corrected"]
    corrected = receiver.got[-1][1]["data"]
    assert (corrected["status"], corrected["revision"]) == ("rejected", 1)


async def test_more_results_than_one_transaction_takes_are_all_written_down(
    bench: Any, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, count = 3, 8
    monkeypatch.setattr(worker, "MOST_AT_ONCE", most)
    monkeypatch.setattr(worker, "RETRY", 0.01)
    await bench.settle(*(f"p{number}" for number in range(count)))
    outbox = bench.use(SlowToWrite)
    async with bench.delivering():
        await receiver.has(count)
        assert bench.said("delivery_succeeded") == []  # a line tells what is written down
        outbox.may_write = True
        rows = await bench.until(lambda rows: all(row.delivered_at for row in rows))
    assert len(rows) == count == len(receiver.got)
    assert len(bench.said("delivery_succeeded")) == count
    assert max(outbox.written) == most


async def test_one_that_waited_for_its_turn_bears_the_time_at_which_it_is_sent(
    bench: Any, receiver: Any
) -> None:
    async def answer(_request: web.Request) -> web.Response:
        bench.clock.wall += 5_000
        return web.Response()

    receiver.answer = answer
    bench.slots = 1
    await bench.settle("p0", "p1", "p2")
    begun = bench.clock.wall
    async with bench.delivering():
        await bench.until(lambda rows: all(row.delivered_at for row in rows))
    times = [int(headers["webhook-timestamp"]) for headers, _ in receiver.got]
    assert times == [(begun + wait) // 1000 for wait in (0, 5_000, 10_000)]


class SlowToWrite(Outbox):
    """An outbox whose store takes no result until it may."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.may_write = False
        self.written: list[int] = []

    async def record(self, attempts: Sequence[Attempt], *rest: Any, **about: Any) -> list[Leased]:
        if not self.may_write:
            raise StoreUnavailableError("not now")
        self.written.append(len(attempts))
        return await super().record(attempts, *rest, **about)


async def test_news_that_comes_while_a_batch_is_leased_is_not_forgotten(
    bench: Any, receiver: Any
) -> None:
    """Nobody wakes the deliverer again: it has to remember that it was woken."""
    outbox = bench.use(Interrupted)
    await bench.settle("p1")
    async with bench.delivering():

        async def tell() -> None:
            await bench.settle("p2")
            bench.news.ring()

        outbox.meanwhile = tell
        await bench.until(lambda rows: len(rows) == 2 and all(row.delivered_at for row in rows))
    assert outbox.meanwhile is None
    assert [receiver.types(key) for key in ("p1", "p2")] == [["process.settled"]] * 2


async def test_as_many_go_at_once_as_there_are_slots(bench: Any, receiver: Any) -> None:
    everybody_is_there = asyncio.Event()

    async def answer(_request: web.Request) -> web.StreamResponse:
        await everybody_is_there.wait()
        return web.Response()

    receiver.answer = answer
    await bench.settle(*(f"p{number}" for number in range(bench.slots)))
    async with bench.delivering():
        await receiver.has(bench.slots)
        everybody_is_there.set()
        await bench.until(lambda rows: all(row.delivered_at for row in rows))
    assert receiver.most_at_once == bench.slots


async def test_what_is_leased_while_it_stops_goes_back_at_once(bench: Any, receiver: Any) -> None:
    outbox = bench.use(Interrupted)
    bench.slots = 1
    await bench.settle("p0", "p1", "p2", "p3", "p4")
    async with bench.delivering() as deliverer:

        async def stop() -> None:
            deliverer.stop()
            for _ in range(100):  # until the slots have ended
                await asyncio.sleep(0)

        outbox.meanwhile = stop
        await bench.until(lambda _rows: outbox.meanwhile is None)
    waiting = [row for row in await bench.rows() if row.state == "pending"]
    assert waiting
    assert {row.attempts for row in waiting} == {0}
    free = await outbox.claim(9, owner="another", now=bench.clock.wall, length=1)
    assert len(free) == len(waiting)


async def test_a_lease_that_the_store_refuses_does_not_cost_the_results_beside_it(
    bench: Any, receiver: Any
) -> None:
    outbox = bench.use(Picky)
    await bench.settle("p1")
    async with bench.delivering():
        await bench.until(lambda rows: all(row.delivered_at for row in rows))
    assert outbox.refused
    assert len(receiver.got) == len(bench.said("delivery_succeeded")) == 1
    assert bench.said("result_not_recorded") == []


class Picky(Outbox):
    """An outbox whose store does not like to lease while it writes down."""

    refused = 0

    async def record(
        self, *results: Any, most: int = 0, length: int = 0, **about: Any
    ) -> list[Leased]:
        if most:
            self.refused += 1
            raise StoreError("no")
        return await super().record(*results, **about)


class Interrupted(Outbox):
    """An outbox during whose next record with a lease something comes to pass."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def record(
        self, *results: Any, most: int = 0, length: int = 0, **about: Any
    ) -> list[Leased]:
        leased = await super().record(*results, most=most, length=length, **about)
        if most and self.meanwhile is not None:
            told, self.meanwhile = self.meanwhile, None
            await told()
            for _ in range(10):  # let the one who was woken look
                await asyncio.sleep(0)
        return leased


async def test_a_dead_delivery_no_longer_blocks_the_next(bench: Any, receiver: Any) -> None:
    receiver.says(410, 200)
    await bench.settle("p1")
    await _correct(bench, "p1", "rejected")
    await bench.deliver_what_is_due()
    assert [row.state for row in await bench.rows()] == ["dead", "delivered"]


@pytest.mark.fault("the application", "hangs for one process")
async def test_a_receiver_that_hangs_costs_one_slot_and_not_the_others(
    bench: Any, receiver: Any
) -> None:
    bench.slots = 2
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if "p-hang" in receiver.bodies[-1]:
            await release.wait()
        return web.Response()

    receiver.answer = answer
    await bench.settle("p-hang", *(f"p{n}" for n in range(20)))
    async with bench.delivering():
        await bench.until(
            lambda rows: sum(row.state == "delivered" for row in rows) == 20, ring=True
        )
        release.set()
        await bench.until(lambda rows: all(row.state == "delivered" for row in rows), ring=True)


async def test_a_time_out_is_a_failed_attempt(bench: Any, receiver: Any) -> None:
    bench.timeout = 50
    hang = asyncio.Event()

    async def answer(_request: web.Request) -> web.StreamResponse:
        await hang.wait()
        return web.Response()

    receiver.answer = answer
    await bench.settle("p1")
    await bench.deliver_what_is_due()
    hang.set()
    (row,) = await bench.rows()
    assert (row.state, row.last_error, row.attempts) == ("pending", "timeout", 1)


@pytest.mark.fault("the application", "answers without end")
async def test_a_huge_answer_is_not_read(bench: Any, receiver: Any) -> None:
    written = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse(headers={"Content-Length": str(100 * 1024 * 1024)})
        await response.prepare(request)
        for _ in range(1600):
            await response.write(bytes(65536))
            written += 65536
        return response

    receiver.answer = answer
    await bench.settle("p1")
    await bench.deliver_what_is_due()
    (row,) = await bench.rows()
    assert row.state == "delivered"
    assert written < 50 * 1024 * 1024


async def test_redirects_are_not_followed(bench: Any, receiver: Any) -> None:
    receiver.says(307, headers={"Location": receiver.url})
    await bench.settle("p1")
    await bench.deliver_what_is_due()
    assert len(receiver.got) == 1
    (row,) = await bench.rows()
    assert row.last_error == "http_307"


async def test_a_target_that_is_down_parks_the_others_without_spending_attempts(
    bench: Any, receiver: Any
) -> None:
    receiver.says(503)
    bench.slots = 1
    await bench.settle(*(f"p{n:02}" for n in range(30)))
    async with bench.delivering():
        await bench.until(lambda _: bench.breaker.state == "open", ring=True)
        rows = await bench.until(lambda _: True)
    rows = await bench.rows()
    assert len(receiver.got) == 5
    assert sum(row.attempts for row in rows) == 5
    assert all(row.state == "pending" for row in rows)
    receiver.says(200)
    bench.clock.at += 3600
    bench.clock.wall += HOUR
    await bench.deliver_what_is_due()
    assert all(row.state == "delivered" for row in await bench.rows())


async def test_a_lease_of_a_dead_instance_runs_out_and_another_delivers(
    bench: Any, receiver: Any
) -> None:
    await bench.settle("p1")
    now = bench.clock.now()
    (claimed,) = await bench.store.outbox.claim(10, owner="dead", now=now, length=60_000)
    async with bench.delivering():
        await bench.settle("p2")
        await bench.until(lambda rows: rows[1].state == "delivered", ring=True)
    assert receiver.types("p1") == []
    bench.clock.wall += 60_000
    async with bench.delivering():
        await bench.until(lambda rows: rows[0].state == "delivered", ring=True)
    assert receiver.got[-1][0]["webhook-id"] == claimed.webhook_id


async def test_stopping_gives_back_what_was_leased_and_finishes_what_was_begun(
    bench: Any, receiver: Any
) -> None:
    bench.slots = 1
    release = asyncio.Event()

    async def answer(_request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    receiver.answer = answer
    await bench.settle("p1", "p2", "p3")
    async with bench.delivering() as deliverer:
        await receiver.has(1)
        deliverer.stop()
        release.set()
    rows = await bench.rows()
    assert [row.state for row in rows] == ["delivered", "pending", "pending"]
    assert [row.attempts for row in rows] == [1, 0, 0]
    assert all(row.next_attempt_at <= bench.clock.wall for row in rows[1:])


async def test_every_kind_of_news_is_delivered_and_hearsay_is_not(bench: Any) -> None:
    confirming = Rules(deliver=True)
    await bench.settle("expired", rules=confirming)
    bench.clock.wall += 15 * 24 * HOUR
    await _answer(bench, "expired", Fetched(0, "pending"), confirming)
    rows = await bench.rows()
    assert [(row.process_id, row.type) for row in rows] == [("expired", "process.expired")]
    await _answer(bench, "expired", Fetched(0, "accepted"), confirming, recheck=True)
    rows = await bench.rows()
    assert [row.type for row in rows] == ["process.expired", "process.settled"]


async def _answer(
    bench: Any, process_id: str, result: Fetched, rules: Rules, *, recheck: bool = False
) -> None:
    now = bench.clock.now()
    if recheck:
        await bench.store.work.record([(process_id, Recheck(Verb.FETCH, "me"))], rules, now)
    claimed = await bench.store.work.claim(
        (Lane.CONFIRM, Lane.OVERDUE), 10, owner="me", rules=rules, now=now, length=40_000
    )
    attempts = {process.process_id: process.attempt for process in claimed}
    observed = [(process_id, replace(result, attempt=attempts[process_id]))]
    await bench.store.work.record(observed, rules, now)


async def _correct(bench: Any, process_id: str, status: str) -> None:
    """A callback contradicts, and Get process confirms it."""
    await bench.claim(process_id, status)
    await _answer(bench, process_id, Fetched(0, status), RULES)
