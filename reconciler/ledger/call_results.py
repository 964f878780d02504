"""Applies the results of calls to processes."""

from reconciler.ledger.call_limit import without_call
from reconciler.ledger.observation import (
    CallFailed,
    CallRefused,
    CallResult,
    CallThrottled,
    Fetched,
    NotifyAccepted,
    ProcessNotFound,
)
from reconciler.ledger.policy import (
    LOOK_AGAIN,
    UNKNOWN_LOOKS,
    UNKNOWN_STANDS,
    Policy,
    Rules,
    Verb,
    same_status,
)
from reconciler.ledger.process import (
    Entry,
    FieldValue,
    Lease,
    Outcome,
    SettledBy,
    State,
    TrackedProcess,
)
from reconciler.ledger.replace import replace
from reconciler.ledger.state_changes import (
    call_again,
    correct,
    end_verification,
    enter,
    lagging,
    look_again,
    mark_gone,
    next_round,
    next_rung,
    owe_verification,
    settle,
)


def on_result(process: TrackedProcess, result: CallResult, rules: Rules, now: int) -> Outcome:
    """Apply ``result`` if its lease still holds; drop it if another instance has taken over."""
    held = process.lease
    if result.attempt != process.attempt or held is None:
        if result.attempt == process.attempt:
            return Outcome(process)  # recorded already
        return Outcome(process, (Entry("result_dropped", {"attempt": result.attempt}),))
    free = replace(process, lease=None)
    if isinstance(result, CallThrottled):
        is_counted = not result.was_made and max(process.recent_calls, default=0) >= held.begun_at
        return Outcome(without_call(free) if is_counted else free)
    fits = Fetched | ProcessNotFound if held.verb is Verb.FETCH else NotifyAccepted
    if not isinstance(result, fits | CallRefused | CallFailed):
        result = CallFailed(result.attempt, "unexpected")  # never made, but total
    # A recheck that came during this call is not answered by it.
    meanwhile = process.asked if process.asked is not held.verb else None
    if meanwhile:
        free = replace(free, asked=None)
    outcome = _record(free, held, result, rules, now)
    if isinstance(result, CallFailed) and result.retry_after:
        outcome = _not_before(outcome, now + result.retry_after)
    return _ask_again(process, outcome, meanwhile, now) if meanwhile else outcome


def _not_before(outcome: Outcome, earliest: int) -> Outcome:
    """Delay the next call, if there is one to come."""
    after = outcome.process
    if after is None or after.next_check_at is None or after.next_check_at >= earliest:
        return outcome
    return replace(outcome, process=replace(after, next_check_at=earliest))


def _ask_again(before: TrackedProcess, outcome: Outcome, verb: Verb, now: int) -> Outcome:
    after = outcome.process
    if after is None or (before.state.is_open and not after.state.is_open):
        return outcome  # it has ended: that answers the recheck too
    if after.state.is_open:
        again = replace(after, asked=verb, tries=0, next_check_at=now)
    else:
        again = replace(owe_verification(after, now), asked=verb)
    return replace(outcome, process=again)


def _record(
    free: TrackedProcess, held: Lease, result: CallResult, rules: Rules, now: int
) -> Outcome:
    if held.verb is Verb.NOTIFY:
        return _on_notify(free, held, result, rules, now)
    fetched = replace(free, fetch_attempts=free.fetch_attempts + 1)
    return _on_fetch(fetched, held, result, rules, now)


def _on_notify(
    process: TrackedProcess, held: Lease, result: CallResult, rules: Rules, now: int
) -> Outcome:
    policy = rules.policy(process.provider)
    process = replace(process, notify_attempts=process.notify_attempts + 1)
    came_meanwhile = process.callback_at is not None and process.callback_at >= held.begun_at
    if came_meanwhile and isinstance(result, NotifyAccepted):
        process = replace(process, claimed_by=SettledBy.NOTIFY)
    match result:
        case NotifyAccepted():
            process = replace(process, notified_at=held.begun_at, last_error=None)
            entry = Entry("notify_requested", {"attempt": process.notify_attempts})
        case CallRefused(error=error):
            process = replace(process, last_error=error)
            entry = Entry("notify_refused", {"attempt": process.notify_attempts, "error": error})
        case CallFailed(error=error):
            process = replace(process, last_error=error)
            entry = Entry("notify_failed", {"attempt": process.notify_attempts, "error": error})
        case _:
            return Outcome(process)
    if process.state not in (State.WAITING, State.OVERDUE):
        # After a callback or a recheck meanwhile, a Get process is owed.
        owed = process.state is State.REPORTED or process.verify_since is not None
        return Outcome(replace(process, asked=None, next_check_at=now if owed else None), (entry,))
    if isinstance(result, NotifyAccepted):
        return next_rung(process, policy, now, entry, grace=policy.notify_grace)
    if isinstance(result, CallRefused):
        return next_rung(process, policy, now, entry)
    return call_again(process, policy, now, entry)


def _on_fetch(
    process: TrackedProcess, held: Lease, result: CallResult, rules: Rules, now: int
) -> Outcome:
    # A call begun before the newest callback cannot refute it: fetch once more.
    is_stale = process.callback_at is not None and held.begun_at < process.callback_at
    policy = rules.policy(process.provider)
    match result:
        case Fetched():
            return _on_fetched(process, result, rules, now, is_stale=is_stale)
        case ProcessNotFound(path_proven=True):
            return _on_not_found(process, policy, now, is_stale=is_stale)
        case ProcessNotFound():
            error, refused = "http_404", False
        case CallRefused(error=error):
            refused = True
        case CallFailed(error=error):
            refused = False
        case _:
            return Outcome(process)
    fields: dict[str, FieldValue] = {"attempt": process.fetch_attempts, "error": error}
    entry = Entry("fetch_refused", fields) if refused else Entry("fetch_failed", fields)
    process = replace(process, last_error=error)
    if is_stale or process.next_check_at is None:
        return _still_owed(process, now, entry)
    return (next_rung if refused else call_again)(process, policy, now, entry)


def _on_fetched(
    process: TrackedProcess, result: Fetched, rules: Rules, now: int, *, is_stale: bool
) -> Outcome:
    status = result.status
    process = _with_facts(process, result, now)
    is_final = rules.is_final(status)
    fetched = Entry("status_fetched", {"status": status, "attempt": process.fetch_attempts})
    entries: tuple[Entry, ...] = (fetched,)
    if rules.is_unknown(status):
        entries = (Entry("status_unknown", {"status": status, "source": "fetch"}), fetched)
        is_final = result.has_final_result
        if not is_stale:
            process = _with_unknown(process, None if is_final else status, now)
        if not is_final and _has_stood(process, now):
            settled = _on_final(process, status, now, is_stale=is_stale)
            outcome = look_again(settled, now)
            return replace(outcome, entries=entries + outcome.entries)
    else:
        process = _with_unknown(process, None, now)
    if is_final:
        outcome = _on_final(process, status, now, is_stale=is_stale)
    else:
        policy = rules.policy(process.provider)
        outcome = _on_pending(process, policy, now, is_stale=is_stale)
    return replace(outcome, entries=entries + outcome.entries)


def _with_unknown(process: TrackedProcess, status: str | None, now: int) -> TrackedProcess:
    """Return ``process`` after a look that found ``status``, which stands in no list; or None."""
    if status is None:
        if process.unknown_status is None:
            return process
        return replace(process, unknown_status=None, unknown_since=None, unknown_looks=0)
    if same_status(status, process.unknown_status):
        return replace(process, unknown_looks=process.unknown_looks + 1)
    return replace(process, unknown_status=status, unknown_since=now, unknown_looks=1)


def _has_stood(process: TrackedProcess, now: int) -> bool:
    """Tell whether an unknown status is what a callback claims, and has stood for long enough.

    Two views of the same unfinished state confirm nothing.
    """
    return (
        process.state is State.REPORTED
        and same_status(process.unknown_status, process.claimed_status)
        and process.unknown_since is not None
        and process.unknown_looks >= UNKNOWN_LOOKS
        and now >= process.unknown_since + UNKNOWN_STANDS
    )


def _owes_a_look(process: TrackedProcess, now: int) -> bool:
    """Tell whether it was settled with a status in no list less than a day ago."""
    return (
        process.unknown_status is not None
        and process.settled_at is not None
        and same_status(process.unknown_status, process.status)
        and now < process.settled_at + LOOK_AGAIN
    )


def _on_final(process: TrackedProcess, status: str, now: int, *, is_stale: bool) -> Outcome:
    claimed = process.claimed_status
    conflict: tuple[Entry, ...] = ()
    if claimed is not None and not same_status(claimed, status):
        fields: dict[str, FieldValue] = {"status": status, "claimed_status": claimed}
        conflict = (Entry("status_conflict", {**fields, "source": "fetch"}),)
    if is_stale and conflict:
        if process.state.is_open:
            return _still_owed(process, now, *conflict)
        return Outcome(owe_verification(process, now), conflict)
    if process.state.is_open:
        by = process.claimed_by if claimed else None
        outcome = settle(process, status, by or SettledBy.FETCH, now)
    elif same_status(status, process.status):
        return end_verification(process, "same")
    else:
        by = process.claimed_by if same_status(claimed, status) else None
        outcome = correct(process, status, by or SettledBy.FETCH, now)
    return replace(outcome, entries=conflict + outcome.entries)


def _on_pending(process: TrackedProcess, policy: Policy, now: int, *, is_stale: bool) -> Outcome:
    process = replace(process, pending_seen=True, missing_at=None)
    if is_stale:
        return _still_owed(process, now)
    if not process.state.is_open:
        done = end_verification(process, "pending")
        settled_at = min(process.settled_at or now, now)
        return look_again(done, settled_at) if _owes_a_look(process, now) else done
    if process.state is State.REPORTED:
        return lagging(process, policy, now)
    return next_round(enter(process, State.WAITING, now, next_check_at=now), policy, now)


def _on_not_found(process: TrackedProcess, policy: Policy, now: int, *, is_stale: bool) -> Outcome:
    error = "http_404"
    process = replace(process, last_error=error)
    entry = Entry("fetch_failed", {"attempt": process.fetch_attempts, "error": error})
    if is_stale:
        return _still_owed(process, now, entry)
    if not process.state.is_open:
        outcome = end_verification(process, "gone")
    elif process.missing_at is None:
        # A second 404 one backoff later makes it gone.
        return next_round(replace(process, missing_at=now), policy, now, entry)
    elif now < process.missing_at + policy.backoff.initial:
        return next_round(process, policy, now, entry)
    else:
        outcome = mark_gone(process, now)
    return replace(outcome, entries=(entry, *outcome.entries))


def _still_owed(process: TrackedProcess, now: int, *entries: Entry) -> Outcome:
    """A callback has overtaken the call: ignore its result and call again."""
    due = now if process.next_check_at is not None else None
    return Outcome(replace(process, next_check_at=due, asked=None), entries)


def _with_facts(process: TrackedProcess, result: Fetched, now: int) -> TrackedProcess:
    created_at = None if result.created_at is None else min(result.created_at, now)
    return replace(
        process,
        last_error=None,
        provider=result.provider or process.provider,
        process_type=result.process_type or process.process_type,
        created_at=created_at if process.created_at is None else process.created_at,
    )
