"""The steps of which every row of the table in docs/lifecycle.md is made."""

from reconciler.ledger.next_call import ladder, next_verb, timeout_at
from reconciler.ledger.policy import LAG_RETRY, LOOK_AGAIN, TRIES_PER_RUNG, Policy
from reconciler.ledger.process import (
    Delivery,
    Entry,
    Outcome,
    SettledBy,
    State,
    TrackedProcess,
)
from reconciler.ledger.replace import replace


def enter(
    process: TrackedProcess, state: State, now: int, *, next_check_at: int | None
) -> TrackedProcess:
    """Return ``process`` in ``state``, on the first rung, with nothing asked or owed."""
    return replace(
        process,
        state=state,
        state_since=process.state_since if process.state is state else now,
        next_check_at=next_check_at,
        rung=0,
        tries=0,
        lags=0,
        asked=None,
        verify_since=None,
        catch_up=False,
    )


def settle(process: TrackedProcess, status: str, by: SettledBy, now: int) -> Outcome:
    """Give an open process its first final status."""
    entry = Entry("process_settled", {"status": status, "by": by})
    return Outcome(_settled(process, status, by, now), (entry,), Delivery("process.settled"))


def correct(process: TrackedProcess, status: str, by: SettledBy, now: int) -> Outcome:
    """Give a terminal process the status of its verification: another one, or its first."""
    settled = replace(_settled(process, status, by, now), revision=process.revision + 1)
    if process.state is State.SETTLED:
        corrected = Entry("process_corrected", {"status": status, "was": process.status, "by": by})
        return Outcome(settled, (corrected,), Delivery("process.corrected"))
    entry = Entry("process_settled", {"status": status, "was": process.state, "by": by})
    return Outcome(settled, (entry,), Delivery("process.settled"))


def _settled(process: TrackedProcess, status: str, by: SettledBy, now: int) -> TrackedProcess:
    settled = enter(process, State.SETTLED, now, next_check_at=None)
    return replace(
        settled, status=status, settled_by=by, settled_at=now, missing_at=None, last_error=None
    )


def expire(process: TrackedProcess, now: int) -> Outcome:
    """End an open process without a result. The claim, if there is one, is kept."""
    expired = enter(process, State.EXPIRED, now, next_check_at=None)
    entry = Entry("process_expired", {"claimed_status": process.claimed_status})
    return Outcome(expired, (entry,), Delivery("process.expired"))


def mark_gone(process: TrackedProcess, now: int) -> Outcome:
    """End an open process that Assure does not know any more."""
    gone = enter(process, State.GONE, now, next_check_at=None)
    entry = Entry("process_gone", {"claimed_status": process.claimed_status})
    never_confirmed = process.adopted and not process.pending_seen
    if never_confirmed:  # it may never have existed, so there is nothing to deliver
        return Outcome(gone, (entry,))
    return Outcome(gone, (entry,), Delivery("process.gone"))


def owe_verification(process: TrackedProcess, now: int) -> TrackedProcess:
    """Return the terminal ``process``, due now for one Get process."""
    since = now if process.verify_since is None else process.verify_since
    return replace(process, verify_since=since, next_check_at=now, round=0, rung=0, tries=0)


def look_again(settled: Outcome, settled_at: int | None) -> Outcome:
    """Owe a verification a day later to what was settled with a status in no list."""
    if settled.process is None or settled_at is None:
        return settled
    due = settled_at + LOOK_AGAIN
    later = replace(settled.process, verify_since=settled_at, next_check_at=due)
    return replace(settled, process=later)


def end_verification(process: TrackedProcess, result: str) -> Outcome:
    """End a verification that brought nothing new."""
    done = enter(process, process.state, 0, next_check_at=None)
    return Outcome(done, (Entry("verification_done", {"result": result}),))


def call_again(process: TrackedProcess, policy: Policy, now: int, *entries: Entry) -> Outcome:
    """Repeat a failed call on the same rung a little later, three times; then take the next."""
    if process.catch_up and not process.asked:
        # Its one call after downtime: it waits for its callback as before.
        return Outcome(replace(process, catch_up=False), entries)
    tries = process.tries + 1
    if tries < TRIES_PER_RUNG:
        due = now + policy.backoff.retry(tries)
        return Outcome(replace(process, tries=tries, next_check_at=due), entries)
    return next_rung(process, policy, now, *entries)


def next_rung(
    process: TrackedProcess, policy: Policy, now: int, *entries: Entry, grace: int = 0
) -> Outcome:
    """Go on to the next rung after ``grace`` ms: this one has brought nothing final.

    After the last rung the round is complete, and the next begins after the backoff.
    """
    due = _not_before_timeout(process, policy, now + grace)
    onward = replace(process, tries=0, asked=None, catch_up=False, next_check_at=due)
    if process.asked and process.asked is not next_verb(onward, policy):
        return Outcome(onward, entries)  # a recheck's call: the rung's own is still owed
    if process.rung + 1 >= len(ladder(process, policy)):
        return next_round(process, policy, now, *entries, at_least=grace)
    return Outcome(replace(onward, rung=process.rung + 1), entries)


def next_round(
    process: TrackedProcess, policy: Policy, now: int, *entries: Entry, at_least: int = 0
) -> Outcome:
    """Complete the round: the next begins after its backoff, but not within ``at_least`` ms."""
    completed = process.round + 1
    delay = max(policy.backoff.delay(completed, process.process_id), at_least)
    onward = replace(process, round=completed, rung=0, tries=0, asked=None, catch_up=False)
    due = _not_before_timeout(onward, policy, now + delay)
    onward = replace(onward, next_check_at=due)
    if at_least and completed == 1:  # the requested callback may still come
        return Outcome(onward, entries)
    return _or_given_up(onward, policy, now, *entries)


def lagging(process: TrackedProcess, policy: Policy, now: int) -> Outcome:
    """Fetch again after *pending* followed a claim: soon, then with growing waits."""
    delay = min(LAG_RETRY * 2 ** min(process.lags, 30), policy.backoff.max)
    onward = replace(
        process,
        lags=process.lags + 1,
        round=process.round + 1,
        tries=0,
        asked=None,
        next_check_at=now + delay,
    )
    return _or_given_up(onward, policy, now)


def _or_given_up(process: TrackedProcess, policy: Policy, now: int, *entries: Entry) -> Outcome:
    """Expire a process past ``give_up_after``, but never before one full round.

    A verification that is owed for that long lapses instead.
    """
    if process.state.is_open:
        if process.round and now >= process.registered_at + policy.give_up_after:
            given_up = expire(process, now)
            return replace(given_up, entries=entries + given_up.entries)
    elif now >= (process.verify_since or 0) + policy.give_up_after:
        lapsed = end_verification(process, "lapsed")
        return replace(lapsed, entries=entries + lapsed.entries)
    return Outcome(process, entries)


def _not_before_timeout(process: TrackedProcess, policy: Policy, due: int) -> int:
    """Keep the whole time-out of a waiting process that was fetched early."""
    return max(due, timeout_at(process, policy)) if process.state is State.WAITING else due
