"""The checks of what a death leaves, and of how a ledger ends."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from tests.e2e.conftest import Daemon
from tests.torture.application import Application, Arrival
from tests.torture.stores import TorturedStore
from tests.torture.traffic import Traffic

MOST_SHOWN = 3

EXPECTED = {"job_failed", "store_unavailable"}
"""The errors that a daemon may log while it cannot use its store."""


class VerdictError(AssertionError):
    """A promise was broken; the text says which, with examples."""


def refuse(found: Iterable[Any], promise: str) -> None:
    """Raise VerdictError where anything was found that breaks ``promise``."""
    broken = list(found)
    if broken:
        raise VerdictError(f"{promise}; against that: {len(broken)}, {broken[:MOST_SHOWN]}")


def check_log(daemon: Daemon) -> None:
    """A daemon has no trouble of its own."""
    refuse(daemon.stderr.splitlines(), "nothing is written to stderr")
    errors = (line for line in daemon.events if line["level"] in ("error", "critical"))
    refuse((line for line in errors if line["event"] not in EXPECTED), "no error is logged")


def check_remains(
    store: TorturedStore, spooled: set[bytes], traffic: Traffic, application: Application
) -> None:
    """After a death: everything acknowledged is there, and all that the application was told."""
    callbacks, processes, deliveries = store.remains(
        "SELECT body_sha256 FROM callbacks",
        "SELECT process_id FROM processes",
        "SELECT webhook_id, payload FROM deliveries",
    )
    lost = traffic.acknowledged.keys() - {bytes(row[0]) for row in callbacks} - spooled
    refuse((traffic.acknowledged[body] for body in lost), "an acknowledged callback is not lost")
    known = {row[0] for row in processes}
    refuse(traffic.registered - known, "an acknowledged registration is not lost")
    payloads = dict(map(tuple, deliveries))
    refuse(
        (each for each in application.arrivals if payloads.get(each.webhook_id) != each.text),
        "the application is told nothing but what the ledger knows",
    )


def check_end(
    store: TorturedStore, truth: Mapping[str, str], traffic: Traffic, application: Application
) -> None:
    """At the end: each process has its true status, and the application was told so, in order.

    ``truth``: the status of each process at Assure.
    """
    processes, callbacks, applied, deliveries = store.remains(
        "SELECT process_id, state, status FROM processes",
        "SELECT process_id, outcome, body_sha256 FROM callbacks",
        "SELECT process_id FROM timeline WHERE event = 'callback_applied'",
        "SELECT webhook_id FROM deliveries ORDER BY id",
    )
    found = {(name, state, status) for name, state, status in processes}
    expected = {(name, "settled", status) for name, status in truth.items()}
    refuse(found ^ expected, "each process is settled with its true status")
    refuse((row for row in callbacks if row[1] != "applied"), "each callback is applied")
    stored = Counter(bytes(row[2]) for row in callbacks)
    refuse(
        (name for body, name in traffic.acknowledged.items() if stored[body] != 1),
        "each acknowledged callback is kept once",
    )
    kept, counted = Counter(row[0] for row in callbacks), Counter(row[0] for row in applied)
    refuse(kept.items() ^ counted.items(), "each callback is applied once")
    told = application.of_each_process()
    refuse(truth.keys() ^ told.keys(), "the application is told of each process")
    refuse(
        (name for name, status in truth.items() if told[name][-1].status != status),
        "the last word is the truth",
    )
    place = {row[0]: number for number, row in enumerate(deliveries)}
    refuse(
        (name for name, arrivals in told.items() if not _are_in_order(arrivals, place)),
        "results of one process arrive in their order",
    )


def _are_in_order(arrivals: list[Arrival], place: Mapping[str, int]) -> bool:
    return all(
        place[one.webhook_id] <= place[other.webhook_id] and one.revision <= other.revision
        for one, other in pairwise(arrivals)
    )
