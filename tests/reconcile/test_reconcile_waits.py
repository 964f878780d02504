"""All calls of an instance wait for reasons that are no process's fault: 429, and no token."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from reconciler.ledger import State, Verb
from reconciler.ledger.policy import MINUTE

if TYPE_CHECKING:
    from tests.reconcile.stage import Instance, Play


@pytest.fixture(autouse=True)
def _fetch_only(play: Play) -> None:
    play.set_policy(ladder=(Verb.FETCH,))


class TestThrottled:
    """429: nothing is spent, and every call of the instance waits."""

    async def test_calls_that_were_out_together_are_said_once(self, play: Play) -> None:
        one = await play.daemon(real_time=False)
        await one.have_token()
        await play.register_many([f"p{n}" for n in range(8)])
        play.world.faults.throttle = 1.0
        play.hold()
        await play.tick(15 * MINUTE)
        await play.until_calls(8)

        play.let_go()
        await play.until(lambda: len(one.outcomes) == 8)
        assert len(play.logged("assure_throttled")) == 1

    @pytest.fixture
    def minute_ahead(self, play: Play) -> str:
        later = datetime.fromtimestamp((play.clock.now() + 16 * MINUTE) / 1000, UTC)
        return format_datetime(later, usegmt=True)

    @pytest.mark.parametrize(
        ("header", "seconds"), [("30", 30.0), ("", 5.0), ("0", 1.0), ("7200", 3600.0)]
    )
    @pytest.mark.fault("Assure", "answers 429", "assure_throttled")
    async def test_all_calls_wait_as_long_as_the_answer_asks(
        self, play: Play, header: str, seconds: float
    ) -> None:
        await self._throttle(play, header, seconds)

    async def test_the_wait_may_be_a_date(self, play: Play, minute_ahead: str) -> None:
        await self._throttle(play, minute_ahead, 60.0)

    async def _throttle(self, play: Play, header: str, seconds: float) -> None:
        clock = play.clock
        one = await play.daemon(rate=1, real_time=False)
        ids = await play.register_many(["p1", "p2", "p3"], callback="lose")
        for process_id in ids:
            play.world.finish(process_id, "accepted")
        play.world.faults.update({"throttle": 1.0, "retry_after": header})

        await play.tick(15 * MINUTE)
        await play.until(lambda: play.logged("assure_throttled"))
        assert play.logged("assure_throttled") == [{"event": "assure_throttled", "wait_s": seconds}]
        play.world.faults.throttle = 0.0
        await play.until(lambda: one.outcomes)
        clock.move(seconds - 0.01)
        await play.tick()
        clock.move(0.01)
        for done in (2, 3, 4):
            await play.tick()
            await play.until_calls(done)
            clock.move(1.1)
        await play.rest()

        first, second, *_ = play.arrivals()
        assert second - first == pytest.approx(seconds)
        for process_id in ids:
            settled = await play.process(process_id)
            assert (settled.state, settled.fetch_attempts) == (State.SETTLED, 1)


class TestWithoutToken:
    """No call can be made, so no process pays for it."""

    async def test_a_refused_token_opens_the_breaker_and_is_asked_for_ever_more_seldom(
        self, play: Play
    ) -> None:
        clock = play.clock
        one = await play.daemon(real_time=False)
        await play.register(callback="lose")
        play.world.finish("p1", "accepted")
        play.world.faults.token_refused = True

        await play.tick(15 * MINUTE)
        for asked, wait in ((1, 1), (2, 2), (3, 4), (4, 8)):
            await play.until(partial(one.probes_in, wait))
            for _ in range(5):
                await play.tick()
            assert play.tokens() == asked
            clock.move(wait)
            await play.tick()
        await play.until(partial(one.probes_in, 16))
        (opened,) = play.logged("breaker_opened")
        told = (opened["reason"], opened["http_status"], opened["error"])
        assert told == ("token_refused", 401, "invalid_client")
        assert play.calls() == []
        overdue = await play.process()
        assert (overdue.attempt, overdue.fetch_attempts) == (0, 0)

        play.world.faults.token_refused = False
        clock.move(16)
        await play.rest()
        assert (await play.process()).state is State.SETTLED
        assert one.breaker.state == "closed"

    @pytest.mark.fault("the token endpoint", "answers 503", "http_503")
    async def test_a_token_endpoint_that_is_down_is_asked_a_few_times_and_then_left_alone(
        self, play: Play
    ) -> None:
        one = await play.daemon(real_time=False)
        ids = await play.register_many([f"p{n}" for n in range(20)], callback="lose")
        play.world.faults.token_down = True

        await play.tick(15 * MINUTE)
        for asked in range(1, 6):
            await play.until_tokens(asked)
            await play.tick()
        await play.until(lambda: one.breaker.state == "open")
        for _ in range(20):
            await play.tick()

        assert play.tokens() == 5
        assert play.calls() == []
        assert {(await play.process(process_id)).attempt for process_id in ids} == {0}

    @pytest.mark.fault("the token endpoint", "answers 429", "assure_throttled")
    async def test_a_token_endpoint_that_throttles_is_left_alone_as_long_as_it_asks(
        self, play: Play
    ) -> None:
        asked = 0

        async def throttle(_request: web.Request) -> web.Response:
            nonlocal asked
            asked += 1
            return web.Response(status=429, headers={"Retry-After": "30"})

        app = web.Application()
        app.router.add_post("/token", throttle)
        async with TestServer(app) as server:
            one = await play.daemon(real_time=False, token_url=str(server.make_url("/token")))
            await play.register()
            await play.tick(15 * MINUTE)
            await play.until(lambda: one.budget.paused_for)
            play.clock.move(29.9)
            for _ in range(20):
                await play.tick()
            assert asked == 1

            play.clock.move(0.2)
            await play.tick()
            await play.until(lambda: asked == 2)
            assert (await play.process()).attempt == 0

    async def test_a_call_whose_new_token_cannot_be_had_is_not_counted(
        self, play: Play, one: Instance
    ) -> None:
        await play.register("warm-up", callback="lose")
        play.world.finish("warm-up", "accepted")
        await play.rest(15 * MINUTE)
        await play.register(callback="lose")
        play.world.finish("p1", "accepted")
        play.world.faults.update({"unauthorized_once": 1, "token_down": True})

        await play.tick(15 * MINUTE)
        await play.until(lambda: len(one.outcomes) == 2)
        untouched = await play.process()
        assert (untouched.fetch_attempts, untouched.tries, untouched.last_error) == (0, 0, None)

        play.world.faults.token_down = False
        await play.rest()
        settled = await play.process()
        assert (settled.state, settled.fetch_attempts) == (State.SETTLED, 1)
