"""The main job on PostgreSQL: two daemons, one ledger, each process ends with its true status."""

import asyncio
from typing import Any

import aiohttp
import pytest

from reconciler.simulator import Faults
from tests.e2e.place import Place

ADMIN = {"Authorization": "Bearer canary-admin-token-c2d4"}
CONFIRM = {"RECONCILER_RECONCILE__CONFIRM_CALLBACKS": "true"}


@pytest.mark.parametrize("faults", [Faults(lose_callbacks=0.5, lose_notified=0.3, wrong_claim=0.1)])
async def test_what_one_daemon_is_told_of_both_reconcile(
    here: Any, place: Place, client: aiohttp.ClientSession
) -> None:
    environ = {**place.environ, **CONFIRM}
    # Callbacks come to the one, registrations to the other.
    one, two = await asyncio.gather(here.running(**environ), here.running(**environ))
    made = [here.world.add(finish_in=0.02 * n) for n in range(60)]
    batch = [{"dossierId": p.dossier_id, "processId": p.process_id} for p in made]
    async with client.post(f"{one.admin_url}/v1/processes", json=batch, headers=ADMIN) as answer:
        assert answer.status == 201

    def settled() -> bool:
        count = "SELECT count(*) FROM processes WHERE state = 'settled'"
        return place.rows(count) == [(60,)]

    await here.until(settled)
    truth = {p.process_id: p.final_status for p in made}
    assert dict(place.rows("SELECT process_id, status FROM processes")) == truth
    once = (
        "SELECT count(*) FROM timeline WHERE event = 'process_settled'"
        " GROUP BY process_id HAVING count(*) <> 1"
    )
    assert place.rows(once) == []
    assert max(here.world.max_in_flight.values()) == 1
    async with client.get(f"{two.admin_url}/v1/status", headers=ADMIN) as answer:
        status = await answer.json()
    assert status["states"]["settled"] == 60
    assert (await one.stop(), await two.stop()) == (0, 0)
    assert one.stderr == two.stderr == ""
