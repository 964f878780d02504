"""Puts processes on the ledger, and merges a second registration into the first."""

from reconciler.ledger.identifiers import same_id
from reconciler.ledger.next_call import timeout_at
from reconciler.ledger.observation import Callback, Registration
from reconciler.ledger.policy import Rules
from reconciler.ledger.process import Entry, Outcome, State, TrackedProcess
from reconciler.ledger.replace import replace


def is_other_dossier(known: TrackedProcess, registration: Registration) -> bool:
    """Tell whether ``registration`` contradicts an earlier one.

    An adopted row was never registered: there the registration is right.
    """
    return not known.adopted and not same_id(known.dossier_id, registration.dossier_id)


def register(
    known: TrackedProcess | None, registration: Registration, rules: Rules, now: int
) -> Outcome:
    """Apply ``registration``; one of another dossier changes nothing (``is_other_dossier``)."""
    if known is None:
        return Outcome(
            _new(registration, rules, now), (Entry("process_registered", {"by": registration.by}),)
        )
    if same_id(known.dossier_id, registration.dossier_id):
        return _fill(known, registration, rules, now)
    if not known.adopted:
        return Outcome(known)
    # A running call is about the other dossier: with a new attempt number its result is dropped.
    attempt = known.attempt + (0 if known.lease is None else 1)
    fresh = replace(_new(registration, rules, now), attempt=attempt)
    replaced = Entry(
        "process_updated", {"by": registration.by, "field": "dossierId", "was": known.dossier_id}
    )
    return Outcome(fresh, (replaced,))


def adopt(callback: Callback, rules: Rules) -> TrackedProcess:
    """Return a row for a callback of an unregistered process."""
    at = callback.received_at
    return TrackedProcess(
        process_id=callback.process_id,
        dossier_id=callback.dossier_id,
        registered_at=at,
        timeout_from=at,
        adopted=True,
        state_since=at,
        next_check_at=at + rules.default.callback_timeout,
    )


def _new(registration: Registration, rules: Rules, now: int) -> TrackedProcess:
    created_at = None if registration.created_at is None else min(registration.created_at, now)
    process = TrackedProcess(
        process_id=registration.process_id,
        dossier_id=registration.dossier_id,
        registered_at=now,
        timeout_from=now if created_at is None else created_at,
        provider=registration.provider,
        process_type=registration.process_type,
        reference=registration.reference,
        created_at=created_at,
        state_since=now,
    )
    return replace(process, next_check_at=timeout_at(process, rules.policy(registration.provider)))


def _fill(known: TrackedProcess, registration: Registration, rules: Rules, now: int) -> Outcome:
    entries = []
    process = replace(known, adopted=False)
    if known.adopted:
        entries.append(Entry("process_registered", {"by": registration.by}))
        process = replace(
            process, process_id=registration.process_id, dossier_id=registration.dossier_id
        )
    for name, label in _LABELS.items():
        was, new = getattr(known, name), getattr(registration, name)
        if new is None or new == was:
            continue
        process = replace(process, **{name: new})
        if was is not None:
            fields = {"by": registration.by, "field": label, "was": was, "now": new}
            entries.append(Entry("process_updated", fields))
    if registration.created_at is not None and known.created_at is None:
        created_at = min(registration.created_at, now)
        process = replace(process, created_at=created_at, timeout_from=created_at)
    in_first_timeout = (
        process.state is State.WAITING and process.round == 0 and process.asked is None
    )
    if in_first_timeout and process.missing_at is None:
        due = timeout_at(process, rules.policy(process.provider))
        process = replace(process, next_check_at=due)
    return Outcome(process, tuple(entries))


_LABELS = {"provider": "provider", "process_type": "processType", "reference": "reference"}
