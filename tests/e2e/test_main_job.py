from typing import Any

import aiohttp
import pytest

from reconciler.simulator import Faults

ADMIN = {"Authorization": "Bearer canary-admin-token-c2d4"}


def registration(process: Any) -> dict[str, str]:
    return {"dossierId": process.dossier_id, "processId": process.process_id}


@pytest.mark.parametrize("faults", [Faults(lose_callbacks=0.5, lose_notified=0.3, wrong_claim=0.1)])
async def test_every_process_ends_with_its_true_status_although_callbacks_are_lost(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    made = [here.world.add(finish_in=0.02 * n) for n in range(57)]
    lost = [here.world.add(callback="lose", notified=way) for way in ("send", "lose")]
    came = here.world.add(callback="send")
    for process in (*lost, came):
        here.world.finish(process.process_id)
        made.append(process)
    async with client.post(
        f"{daemon.admin_url}/v1/processes", json=[registration(p) for p in made], headers=ADMIN
    ) as answer:
        assert answer.status == 201
        assert await answer.json() == {"created": 60, "known": 0}

    def settled() -> bool:
        count = here.rows("SELECT count(*) FROM processes WHERE state = 'settled'")
        return bool(count[0][0] == 60)

    await here.until(settled)
    truth = {p.process_id: p.final_status for p in made}
    assert dict(here.rows("SELECT process_id, status FROM processes")) == truth
    ways = {row[0] for row in here.rows("SELECT DISTINCT settled_by FROM processes")}
    assert ways == {"callback", "notify", "fetch"}
    assert max(here.world.max_in_flight.values()) == 1
    assert await daemon.stop() == 0
    assert daemon.stderr == ""


async def test_an_unregistered_process_is_adopted_confirmed_and_settled(
    here: Any, client: aiohttp.ClientSession
) -> None:
    daemon = await here.running()
    process = here.world.add(final_status="rejected")
    here.world.finish(process.process_id)
    settled = await daemon.said("process_settled")
    assert (settled["status"], settled["by"]) == ("rejected", "callback")
    async with client.get(
        f"{daemon.admin_url}/v1/processes/{process.process_id}", headers=ADMIN
    ) as answer:
        shown = await answer.json()
    assert shown["state"] == "settled"
    assert shown["status"] == shown["claimedStatus"] == "rejected"
    assert [entry["event"] for entry in shown["timeline"]] == [
        "callback_applied",
        "status_fetched",
        "process_settled",
    ]


async def test_callbacks_of_a_downtime_are_looked_for_at_the_next_start(here: Any) -> None:
    """The time-out of an hour is not waited for: the daemon knows that it was away."""
    hour = {"RECONCILER_RECONCILE__CALLBACK_TIMEOUT": "1h"}
    daemon = await here.running(**hour)
    done = here.world.add(final_status="accepted", callback="lose")
    pending = here.world.add(final_status="accepted")
    for process in (done, pending):
        code, _, _ = await here.command("track", process.dossier_id, process.process_id, **hour)
        assert code == 0
    assert await daemon.stop() == 0
    here.world.finish(done.process_id)
    an_hour_ago = "UPDATE facts SET value = value - 3600000 WHERE name = 'last_alive_at'"
    here.write(an_hour_ago)
    daemon = await here.running(**hour)
    gap = await daemon.said("downtime_detected")
    assert (gap["processes"], gap["gap_s"] // 3600) == (2, 1)
    settled = await daemon.said("process_settled")
    assert (settled["process_id"], settled["by"]) == (done.process_id, "fetch")
    await daemon.said("status_fetched", 2)
    rows = here.rows("SELECT state, fetch_attempts, notify_attempts FROM processes ORDER BY state")
    assert rows == [("settled", 1, 0), ("waiting", 1, 0)]
