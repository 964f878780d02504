"""``GET /metrics``, scraped over a real socket and read by the library's own parser."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_plain

from reconciler.admin.health import Health, Readiness
from reconciler.admin.metrics import Gauges
from reconciler.store.inbox import Receipt
from reconciler.telemetry.metric_catalogue import CATALOGUE
from tests.admin.conftest import START

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.store.open import Store
    from tests.admin.conftest import Client, Played, Serve

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
FROM_THE_STORE = {
    "reconciler_processes", "reconciler_instances", "reconciler_outbox_pending",
    "reconciler_outbox_dead", "reconciler_oldest_overdue_age_seconds",
    "reconciler_oldest_reported_age_seconds", "reconciler_outbox_oldest_pending_age_seconds",
}  # fmt: skip
DELIVERY = (
    "INSERT INTO deliveries (webhook_id, process_id, type, payload, created_at, state,"
    " pending_since, attempts) VALUES (?, 'p1', 'process.settled', '{}', 1, ?, ?, 0)"
)


async def scraped(client: Client, **headers: str) -> Samples:
    async with client.session.get(f"{client.url}/metrics", headers=headers) as response:
        assert response.status == 200
        text = await response.text()
    read = read_openmetrics if "Accept" in headers else read_plain
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in read(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


def names(samples: Samples) -> set[str]:
    return {name for name, _ in samples}


@contextlib.contextmanager
def taken_away(store_path: Path) -> Iterator[None]:
    """Take the store's tables away, so that no question can be answered."""
    tables = ("processes", "instances")
    with contextlib.closing(sqlite3.connect(store_path)) as connection:
        for table in tables:
            connection.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
        connection.commit()
        yield
        for table in tables:
            connection.execute(f"ALTER TABLE {table}_away RENAME TO {table}")
        connection.commit()


async def test_a_scrape_tells_every_metric_of_the_catalogue(client: Client, store: Store) -> None:
    await store.inbox.put_many([receipt("p1", START - 60_000)])

    told = {family.name: family.type for family in await families(client)}

    for metric in CATALOGUE:
        assert told[metric.name.removesuffix("_total")] == metric.kind


async def families(client: Client) -> list[Any]:
    async with client.session.get(f"{client.url}/metrics") as response:
        return list(read_plain(await response.text()))


async def test_a_scrape_says_what_the_ledger_holds(
    client: Client, store: Store, played: Played, store_path: Path
) -> None:
    await client.register(*({"dossierId": "d", "processId": f"p{n}"} for n in range(3)))
    await store.inbox.put_many([receipt("p9", START - 61_000)])
    with contextlib.closing(sqlite3.connect(store_path)) as connection:
        connection.execute(
            "UPDATE processes SET state = 'overdue', state_since = ? WHERE process_id = 'p0'",
            (START - 7_000,),
        )
        for key, state, since in (("a", "pending", 9), ("b", "pending", 30), ("c", "dead", 99)):
            connection.execute(DELIVERY, (key, state, START - since * 1000))
        connection.commit()

    samples = await scraped(client)

    assert value(samples, "reconciler_store_up") == 1
    assert value(samples, "reconciler_processes", state="waiting") == 2
    assert value(samples, "reconciler_processes", state="overdue") == 1
    assert value(samples, "reconciler_processes", state="gone") == 0
    assert value(samples, "reconciler_oldest_overdue_age_seconds") == 7
    assert value(samples, "reconciler_oldest_reported_age_seconds") == 0
    assert value(samples, "reconciler_last_callback_age_seconds") == 61
    assert value(samples, "reconciler_outbox_pending") == 2
    assert value(samples, "reconciler_outbox_oldest_pending_age_seconds") == 30
    assert value(samples, "reconciler_outbox_dead") == 1


async def test_a_scrape_says_how_this_daemon_is(client: Client, played: Played) -> None:
    played.breaker, played.spooled, played.dropped = "open", 4, 17
    played.handshakes_failed.update({"unknown_ca": 3})
    played.is_full = True
    played.rejected.update({"authorization_wrong": 5, "never heard of": 2})
    played.readiness = Readiness(False, reason="neither")

    samples = await scraped(client)

    assert value(samples, "reconciler_ready") == 0
    assert value(samples, "reconciler_breaker_state", state="open") == 1
    assert value(samples, "reconciler_breaker_state", state="closed") == 0
    assert value(samples, "reconciler_spooled_callbacks") == 4
    assert value(samples, "reconciler_log_lines_dropped_total") == 17
    assert value(samples, "reconciler_callbacks_rejected_total", reason="authorization_wrong") == 5
    assert value(samples, "reconciler_callbacks_rejected_total", reason="other") == 2
    assert value(samples, "reconciler_tls_handshakes_failed_total", reason="unknown_ca") == 3
    assert value(samples, "reconciler_connections_full") == 1
    assert value(samples, "reconciler_last_sweep_age_seconds") == 90  # none yet: since the start
    assert value(samples, "reconciler_build_info", version="1.2.3") == 1
    assert value(samples, "reconciler_disk_free_bytes", of="store") > 0
    assert value(samples, "reconciler_disk_size_bytes", of="spool") > 0
    assert value(samples, "process_open_fds") > 0
    assert "python_gc_collections_total" in names(samples)
    assert not any(name.endswith("_created") for name in names(samples))


async def test_before_the_first_callback_its_age_is_absent(client: Client) -> None:
    assert "reconciler_last_callback_age_seconds" not in names(await scraped(client))


async def test_while_the_store_is_down_its_numbers_are_absent_and_all_others_there(
    client: Client, played: Played, store_path: Path
) -> None:
    assert names(await scraped(client)) >= FROM_THE_STORE
    played.clock.at += 2
    with taken_away(store_path):
        samples = await scraped(client)
    played.clock.at += 2

    assert value(samples, "reconciler_store_up") == 0
    assert names(samples) & FROM_THE_STORE == set()
    assert value(samples, "reconciler_breaker_state", state="closed") == 1
    assert value(await scraped(client), "reconciler_store_up") == 1


async def test_scrapes_of_one_second_ask_the_store_once(client: Client, played: Played) -> None:
    await scraped(client)
    await client.register({"dossierId": "d", "processId": "p1"})

    assert value(await scraped(client), "reconciler_processes", state="waiting") == 0
    played.clock.at += 1
    assert value(await scraped(client), "reconciler_processes", state="waiting") == 1
    assert played.checks == 2


async def test_openmetrics_is_told_to_those_who_ask_for_it(client: Client) -> None:
    plain = await scraped(client)
    asked = await scraped(client, Accept="application/openmetrics-text; version=1.0.0")

    assert names(asked) == names(plain)


async def test_nothing_of_the_request_comes_back_in_the_answer(client: Client) -> None:
    accept = "application/openmetrics-text; version=canary-9.9; escaping=canary"
    async with client.session.get(f"{client.url}/metrics", headers={"Accept": accept}) as response:
        assert response.status == 200
        assert "canary" not in str(response.headers) + await response.text()


async def test_metrics_want_the_token(serve: Serve) -> None:
    async with serve(token="t0ken") as client:
        assert (await client("GET", "/metrics")).status == 401
        assert await scraped(client, Authorization="Bearer t0ken")


async def test_what_was_counted_is_told(client: Client, played: Played) -> None:
    played.metrics.note("debug", "callbacks_committed", {"count": 3, "seconds": 0.004})
    played.metrics.note("debug", "callback_acknowledged", {"seconds": 0.3})
    played.metrics.note("info", "process_settled", {"by": "fetch"})

    samples = await scraped(client)

    assert value(samples, "reconciler_callbacks_kept_total", where="store") == 3
    assert value(samples, "reconciler_callback_acknowledge_seconds_bucket", le="0.25") == 0
    assert value(samples, "reconciler_callback_acknowledge_seconds_bucket", le="0.5") == 1
    assert value(samples, "reconciler_commit_callbacks_sum") == 3
    assert value(samples, "reconciler_settlements_total", by="fetch") == 1


@pytest.mark.parametrize("together", [2, 30])
async def test_scrapes_at_the_same_moment_share_one_look(
    client: Client, played: Played, together: int
) -> None:
    found = await asyncio.gather(*(scraped(client) for _ in range(together)))

    assert {value(samples, "reconciler_store_up") for samples in found} == {1}
    assert played.checks == 1


def receipt(process_id: str, at: int) -> Receipt:
    return Receipt(
        receipt_id=f"r-{process_id}",
        received_at=at,
        process_id=process_id,
        dossier_id="d",
        status="accepted",
        extra=(),
        body_sha256=bytes(32),
    )


class Hanging:
    """A check of readiness that does not end before it is told to."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def check(self) -> Readiness:
        await self.may_end.wait()
        return Readiness(True)


async def test_a_readiness_check_that_hangs_makes_no_scrape_hang(
    store: Store, played: Played
) -> None:
    check = Hanging()
    gauges = Gauges(
        store,
        Health(played, check, played.clock),
        own=played,
        listener=played,
        logs=played,
        disks={},
        clock=played.clock,
        limit=0.5,
    )

    await gauges.look()
    ready, *_ = (f.samples[0].value for f in gauges.collect() if f.name == "reconciler_ready")
    check.may_end.set()

    assert ready == 0
