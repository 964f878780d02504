"""The invariants of every row, from docs/lifecycle.md. Pure: a row in, violations out."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import orjson

from reconciler.ledger import State, Verb
from reconciler.ledger.identifiers import same_id
from reconciler.ledger.process import DeliveryType
from reconciler.store.delivery_row import DeliveryState
from reconciler.store.rows import from_row

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant, and how to repair it."""

    table: str
    process_id: str | None
    """None where it concerns no process."""
    what: str
    action: str


Rule = Callable[[Row], Iterator[tuple[str, str]]]
"""Yields the violations of a row, each with an action."""

_RECHECK = "`reconciler recheck` it: what comes of that is written anew"
_FORGET = "`reconciler forget` it, and register it again if it is still awaited"
_SEND = "`reconciler redeliver` it: that writes its state anew"
_UNREADABLE = "stop the daemon and restore a backup; or `reconciler forget` it"
_COUNTS = (
    "revision", "duplicates", "round", "rung", "tries", "lags", "unknown_looks",
    "notify_attempts", "fetch_attempts", "attempt",
)  # fmt: skip
_LEASE = ("lease_owner", "lease_verb", "lease_begun_at", "lease_until")
_STATES = {str(state) for state in State}
_VERBS = {str(verb) for verb in Verb}
_OUTCOMES = {None, "applied", "unmatched", "mismatch"}


def of_process(row: Row) -> Iterator[tuple[str, str]]:
    """Check a row of the ledger."""
    held = [row[name] is not None for name in _LEASE]
    if row["state"] not in _STATES:
        yield f"its state is {row['state']!r}, which is none", _UNREADABLE
        return
    if any(held) != all(held) or row["lease_verb"] not in {None, *_VERBS}:
        yield "its lease is not whole", _UNREADABLE
        return
    if all(held) and row["lease_begun_at"] > row["lease_until"]:
        yield "its lease ends before it begins", _UNREADABLE
    try:
        process = from_row(row)  # type: ignore[arg-type]  # a mapping is enough
    except ValueError as error:
        yield f"it cannot be read: {error}", _UNREADABLE
        return
    yield from _of_due_time(row, is_open=process.state.is_open)
    yield from _of_result(row, is_settled=process.state is State.SETTLED)
    if row["process_id"] != process.key:
        yield "its key is not that of its id", _FORGET
    if row["lane"] != process.lane:
        yield f"it stands in lane {row['lane']} and belongs into {_number(process.lane)}", _RECHECK
    if any(row[name] < 0 for name in _COUNTS):
        yield "one of its counts is negative", _RECHECK


def _of_due_time(row: Row, *, is_open: bool) -> Iterator[tuple[str, str]]:
    due, owed = row["next_check_at"] is not None, row["verify_since"] is not None
    if is_open and not due:
        yield "it is open and nobody will ever look at it: it has no due time", _RECHECK
    if not is_open and due and not owed:
        yield "it has ended and is due, but no verification is owed", _RECHECK
    if not is_open and owed and not due:
        yield "a verification is owed, and it has no due time", _RECHECK
    if row["state"] == State.REPORTED and row["claimed_status"] is None:
        yield "it is reported, and there is no claim", _RECHECK


def _of_result(row: Row, *, is_settled: bool) -> Iterator[tuple[str, str]]:
    known = [row[name] is not None for name in ("status", "settled_by", "settled_at")]
    if is_settled and not all(known):
        yield "it is settled, and status, settled_by or settled_at is missing", _RECHECK
    if not is_settled and any(known):
        yield f"it is {row['state']}, and has the status of a settled one", _RECHECK


def of_callback(row: Row) -> Iterator[tuple[str, str]]:
    """Check a row of the inbox; ``known_dossier`` is its process's, None without a process."""
    known = row["known_dossier"]
    if row["outcome"] not in _OUTCOMES:
        yield f"a callback's outcome is {row['outcome']!r}, which is none", _FORGET
    if row["outcome"] == "applied" and known is None:
        yield "a callback was applied, and its process is not on the ledger", _FORGET
    if row["outcome"] == "unmatched" and known and same_id(known, row["dossier_id"]):
        yield "a callback was not applied, and its process is on the ledger", _RECHECK


def of_delivery(row: Row) -> Iterator[tuple[str, str]]:
    """Check a row of the outbox; ``known_dossier`` is as in ``of_callback``."""
    name, state = row["webhook_id"], row["state"]
    if state not in set(DeliveryState):
        yield f"{name} has the state {state!r}, which is none", _SEND
    elif (state == DeliveryState.PENDING) != (row["next_attempt_at"] is not None):
        yield f"{name} is {state}, and its next attempt says otherwise", _SEND
    elif (state == DeliveryState.DELIVERED) != (row["delivered_at"] is not None):
        yield f"{name} is {state}, and its time of delivery says otherwise", _SEND
    leased = row["lease_owner"] is not None
    has_ended = state in (DeliveryState.DELIVERED, DeliveryState.DEAD)
    if leased != (row["lease_until"] is not None) or (leased and has_ended):
        yield f"the lease of {name} is not whole, or of one that has ended", _SEND
    if row["type"] not in get_args(DeliveryType) or not _is_object(row["payload"]):
        yield f"{name} has a type or a payload that cannot be read", _FORGET
    if row["attempts"] < 0:
        yield f"{name} has a negative number of attempts", _SEND
    if row["known_dossier"] is None:
        yield f"the process of {name} is not on the ledger", _FORGET


def of_entry(row: Row) -> Iterator[tuple[str, str]]:
    """Check a row of the timeline; ``known_dossier`` is as in ``of_callback``."""
    if not _is_object(row["fields"]):
        yield f"entry {row['id']} cannot be read", _FORGET
    is_lost = row["known_dossier"] is None and row["process_id"]
    if is_lost and row["event"] != "callback_unmatched":  # which concerns unknown ones
        yield f"entry {row['id']} ({row['event']}) is of a process not on the ledger", _FORGET


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except ValueError:
        return False


def _number(lane: int | None) -> int | None:
    return None if lane is None else int(lane)
