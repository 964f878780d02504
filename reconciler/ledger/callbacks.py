"""Applies callbacks to processes.

The reasons: docs/decisions/004.
"""

from reconciler.ledger.identifiers import same_id
from reconciler.ledger.observation import Callback
from reconciler.ledger.policy import Rules, Verb, same_status
from reconciler.ledger.process import Entry, Outcome, SettledBy, State, TrackedProcess
from reconciler.ledger.registration import adopt
from reconciler.ledger.replace import replace
from reconciler.ledger.state_changes import enter, owe_verification, settle


def on_callback(
    process: TrackedProcess | None, callback: Callback, rules: Rules, now: int
) -> Outcome:
    """Apply a callback; a status in neither list counts as final."""
    fields = {"status": callback.status}
    if process is None:
        if not rules.adopt_unknown:
            return Outcome(None, (Entry("callback_unmatched", fields),))
        process = adopt(callback, rules)
    elif not same_id(process.dossier_id, callback.dossier_id):
        return Outcome(process, (Entry("callback_mismatch", fields),))
    elif process.last_receipt == callback.receipt_id:
        return Outcome(process)
    process = replace(process, last_receipt=callback.receipt_id)
    applied: tuple[Entry, ...] = (Entry("callback_applied", fields),)
    if rules.is_unknown(callback.status):
        applied += (Entry("status_unknown", {"status": callback.status, "source": "callback"}),)
    if rules.is_pending(callback.status):
        return Outcome(process, applied)
    outcome = _on_claim(process, callback, rules, now)
    return replace(outcome, entries=applied + outcome.entries)


def _on_claim(process: TrackedProcess, callback: Callback, rules: Rules, now: int) -> Outcome:
    status = callback.status
    is_late = process.callback_at is not None and callback.received_at < process.callback_at
    if not process.state.is_open:
        if same_status(status, process.status):
            return Outcome(replace(process, duplicates=process.duplicates + 1))
        claimed = process if is_late else _with_claim(process, callback, rules)
        owed = Entry("verification_owed", {"claimed_status": status, "status": process.status})
        return Outcome(
            owe_verification(claimed, now), (*_conflict(process.status, status, "callback"), owed)
        )
    if process.state is State.REPORTED:
        if same_status(status, process.claimed_status):
            return Outcome(replace(process, duplicates=process.duplicates + 1))
        conflict = _conflict(process.claimed_status, status, "callback")
        if is_late:
            return Outcome(process, conflict)
        newest = replace(_with_claim(process, callback, rules), lags=0, next_check_at=now)
        return Outcome(newest, conflict)
    claimed = _with_claim(process, callback, rules)
    if rules.policy(process.provider).confirm_callbacks:
        return Outcome(enter(claimed, State.REPORTED, now, next_check_at=now))
    # Settled before the answer to a running Notify is known.
    held = process.lease
    asked = held and held.verb is Verb.NOTIFY and held.begun_at <= callback.received_at
    by = SettledBy.NOTIFY if asked else claimed.claimed_by or SettledBy.CALLBACK
    return settle(claimed, status, by, now)


def _with_claim(process: TrackedProcess, callback: Callback, rules: Rules) -> TrackedProcess:
    return replace(
        process,
        missing_at=None,  # a 404 from before the claim does not count against it
        claimed_status=callback.status,
        claimed_by=_brought_by(process, callback, rules),
        callback_at=callback.received_at,
    )


def _brought_by(process: TrackedProcess, callback: Callback, rules: Rules) -> SettledBy:
    """Return NOTIFY for a callback within the grace of an accepted Notify, else CALLBACK.

    For one that comes before the Notify is answered, the answer decides.
    """
    grace = rules.policy(process.provider).notify_grace
    accepted = process.notified_at is not None and (
        process.notified_at <= callback.received_at <= process.notified_at + grace
    )
    return SettledBy.NOTIFY if accepted else SettledBy.CALLBACK


def _conflict(known: str | None, claimed: str, source: str) -> tuple[Entry, ...]:
    if known is None or same_status(known, claimed):
        return ()
    fields = {"status": known, "claimed_status": claimed, "source": source}
    return (Entry("status_conflict", fields),)
