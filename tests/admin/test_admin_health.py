"""/live and /ready: what they say, and that asking often costs nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reconciler.admin.health import Health, Readiness

if TYPE_CHECKING:
    from tests.admin.conftest import Client, Played


async def test_live_is_200_while_every_job_makes_progress(client: Client) -> None:
    answer = await client.get("/live")

    assert (answer.status, answer.body) == (200, {"live": True, "stale": []})


async def test_live_is_503_and_names_the_jobs_that_make_no_progress(
    client: Client, played: Played
) -> None:
    played.stale_jobs = ["sweep", "heartbeat"]

    answer = await client.get("/live")

    assert (answer.status, answer.body) == (503, {"live": False, "stale": ["sweep", "heartbeat"]})


async def test_ready_is_200_and_names_what_is_degraded(client: Client, played: Played) -> None:
    played.readiness = Readiness(True, ("assure: open",))

    answer = await client.get("/ready")

    assert (answer.status, answer.body) == (200, {"ready": True, "degraded": ["assure: open"]})


async def test_ready_is_503_with_the_reason(client: Client, played: Played) -> None:
    played.readiness = Readiness(False, ("store: locked",), "nothing takes callbacks")

    answer = await client.get("/ready")

    assert answer.status == 503
    assert answer.body == {
        "ready": False,
        "degraded": ["store: locked"],
        "reason": "nothing takes callbacks",
    }


async def test_a_readiness_is_checked_once_a_second(client: Client, played: Played) -> None:
    assert (await client.get("/ready")).status == 200
    played.readiness = Readiness(False, reason="stopping")
    played.clock.at += 0.999
    still = await client.get("/ready")
    played.clock.at += 0.001
    then = await client.get("/ready")

    assert (still.status, then.status) == (200, 503)
    assert played.checks == 2


async def test_those_who_ask_during_a_check_share_its_answer(
    health: Health, played: Played
) -> None:
    answers = await asyncio.gather(*(health.ready() for _ in range(20)))

    assert answers == [Readiness(True)] * 20
    assert played.checks == 1
