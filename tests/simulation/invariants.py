"""The invariants: whatever a run has done, at its end all of these hold.

docs/guarantees.md has the promises behind them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from reconciler.store.maintenance.check import damage
from tests.simulation.assure import Facts, Look
from tests.simulation.daemon import check_db, rows
from tests.simulation.plan import DAY, HOUR, Callback, Plan, Subject

LONG_ENOUGH = 3 * DAY
"""Seconds for which a status has been final when a process that never heard of it may no longer
expire: outages and waits between two rounds are shorter."""

UNFINISHED = ("pending", "processing")
"""A callback with such a word, or with one that we know already, is no news."""

FIRST_HOUR, LATER_HOUR = 30, 10
"""Calls about one process in an hour: docs/guarantees.md."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that is known when a run is over and no daemon runs."""

    plan: Plan
    store: Path
    facts: Facts
    told: Mapping[str, Sequence[Mapping[str, Any]]]
    acknowledged: Sequence[tuple[float, Subject, Callback]]
    lines: Sequence[str]


def violations(evidence: Evidence) -> list[str]:
    """Return a sentence for each invariant that does not hold."""
    checks = (_callbacks, _ends, _deliveries, _calls, _store)
    return [found for check in checks for found in check(evidence)]


def _callbacks(evidence: Evidence) -> Iterator[str]:
    """No acknowledged callback is missing, and each was applied or set aside for good."""
    stored = rows(evidence.store, "SELECT process_id, dossier_id, status, outcome FROM callbacks")
    left = [(row["process_id"], row["dossier_id"], row["status"]) for row in stored]
    for at, subject, callback in evidence.acknowledged:
        key = (subject.process_id, callback.dossier, callback.status)
        if key in left:
            left.remove(key)
        else:
            yield f"a callback acknowledged at {at:.3f} is missing: {key}"
    for row in stored:
        if row["outcome"] is None:
            yield f"a callback was never applied: {row}"


def _ends(evidence: Evidence) -> Iterator[str]:
    """Every process is terminal, with the true status, or justly without one."""
    found = {row["process_id"]: row for row in rows(evidence.store, "SELECT * FROM processes")}
    for subject in evidence.plan.subjects:
        row = found.get(subject.process_id)
        if row is None:
            if subject.registered_at is not None:
                yield f"{subject.process_id} is not on the ledger"
            continue
        flaw = _flaw_of_end(row, subject, evidence)
        if flaw:
            yield f"{subject.process_id} {flaw}: {row['state']} {row['status']}"
        if row["lease_until"] is not None or row["next_check_at"] is not None:
            yield f"{subject.process_id} still waits for something: {row}"


def _flaw_of_end(row: Mapping[str, Any], subject: Subject, evidence: Evidence) -> str | None:
    looks = evidence.facts.looks[subject.process_id]
    match row["state"]:
        case "settled":
            return _flaw_of_status(row["status"], subject, looks, evidence)
        case "gone":
            return None if subject.deleted_at is not None else "is gone, and was never deleted"
        case "expired":
            expired = _said_at(evidence, f"process_expired {{'process_id': '{subject.process_id}'")
            over = subject.is_over_at
            is_just = over is None or subject.deleted_at or expired < over + LONG_ENOUGH
            return None if is_just else f"expired at {expired:.0f}, and was final since {over:.0f}"
        case _:
            return "has not ended"


def _flaw_of_status(
    status: str, subject: Subject, looks: Sequence[Look], evidence: Evidence
) -> str | None:
    """Return what is wrong with a status; it may be old only if nobody has told us."""
    since, word, _ = subject.words[-1]
    if status == word or (not evidence.plan.confirms and status.lower() == word.lower()):
        return None
    if status.lower() == word.lower():
        return f"has not the spelling of Assure, {word}"
    news = [look.at for look in looks if look.at >= since]
    news += [
        at
        for at, about, callback in evidence.acknowledged
        if about is subject and callback.dossier == subject.dossier_id and at >= since
        if callback.status.lower() not in (status.lower(), *UNFINISHED)
    ]
    if subject.deleted_at is not None and subject.deleted_at <= max(since, *news, 0.0) + DAY:
        return None
    if news:
        return f"has not the status {word}, of which it heard at {max(news):.0f}"
    old = {before.lower() for _, before, _ in subject.words}
    return None if status.lower() in old else "has a status that was never true"


def _said_at(evidence: Evidence, what: str) -> float:
    return max((float(line.split()[0]) for line in evidence.lines if what in line), default=0.0)


def _deliveries(evidence: Evidence) -> Iterator[str]:
    """Every result was delivered, in order, and the last word is the ledger's."""
    for row in rows(evidence.store, "SELECT * FROM deliveries WHERE state <> 'delivered'"):
        yield f"a delivery was not made: {row}"
    for row in rows(evidence.store, "SELECT * FROM processes"):
        process_id, told = row["process_id"], evidence.told.get(row["process_id"], ())
        if not told:
            was_unknown = row["state"] == "gone" and row["adopted"]
            if not was_unknown:
                yield f"{process_id} has ended, and the application was not told"
            continue
        data = [each["data"] for each in told]
        revisions = [each["revision"] for each in data]
        if revisions != sorted(revisions):
            yield f"{process_id} was told out of order: {revisions}"
        last = data[-1]
        if (last["state"], last["status"], last["revision"]) != (
            row["state"],
            row["status"],
            row["revision"],
        ):
            yield f"{process_id}: the last word was {last}, and the ledger has {row}"


def _calls(evidence: Evidence) -> Iterator[str]:
    """The budget is kept in every second, and no process is called twice at once or too often."""
    rate = evidence.plan.rate
    most = rate + max(1.0, rate / 10)
    arrivals = evidence.facts.arrivals
    first = 0
    for last, at in enumerate(arrivals):
        while arrivals[first] <= at - 1.0:
            first += 1
        if last - first + 1 > most:
            yield f"{last - first + 1} calls in the second before {at:.3f}; {most} are allowed"
            break
    if evidence.plan.jumps:  # a lease and an hour are by the wall clock
        return
    for process_id in evidence.facts.twice:
        yield f"two calls about {process_id} were out at once"
    for process_id, calls in evidence.facts.calls.items():
        for index, at in enumerate(calls):
            in_hour = [each for each in calls[index:] if each < at + HOUR]
            if len(in_hour) > FIRST_HOUR:
                yield f"{len(in_hour)} calls about {process_id} in the hour from {at:.0f}"
                break


def _store(evidence: Evidence) -> Iterator[str]:
    """``check-db`` finds nothing."""
    for violation in damage(evidence.store):
        yield f"check-db: {violation.what}"
    for found in check_db(evidence.store, Random(0)):
        yield f"check-db: {found}"
