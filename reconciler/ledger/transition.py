"""The one function that changes a process. Pure and total; docs/lifecycle.md is its table."""

from reconciler.ledger.call_results import on_result
from reconciler.ledger.callbacks import on_callback
from reconciler.ledger.next_call import held_back, next_verb, turns_overdue
from reconciler.ledger.observation import (
    Callback,
    ClockJumpedBack,
    Observation,
    Recheck,
    Registration,
    TimePassed,
)
from reconciler.ledger.policy import Rules, Verb
from reconciler.ledger.process import Entry, Outcome, State, TrackedProcess
from reconciler.ledger.registration import register
from reconciler.ledger.replace import replace
from reconciler.ledger.state_changes import enter, owe_verification
from reconciler.ledger.time_ahead import as_seen, of_the_past, with_wait_from


def transition(
    process: TrackedProcess | None, observation: Observation, rules: Rules, now: int
) -> Outcome:
    """Apply ``observation`` to ``process`` at ``now`` (UTC milliseconds).

    ``process`` is None while it is not on the ledger: then only a registration or a callback
    has an effect.
    """
    observation = as_seen(observation, now)
    if process is not None:
        process = of_the_past(process, now)
    outcome = _apply(process, observation, rules, now)
    after = outcome.process
    if after is not None and not isinstance(observation, Recheck):
        limited = held_back(after, rules, now)
        if limited is not after:
            outcome, after = replace(outcome, process=limited), limited
    if after is None or (process and after.next_check_at == process.next_check_at):
        return outcome
    return replace(outcome, process=replace(after, scheduled_at=now))


def _apply(
    process: TrackedProcess | None, observation: Observation, rules: Rules, now: int
) -> Outcome:
    if isinstance(observation, Registration):
        return register(process, observation, rules, now)
    if isinstance(observation, Callback):
        return on_callback(process, observation, rules, now)
    if process is None:
        return Outcome(None)
    match observation:
        case TimePassed():
            return _on_time_passed(process, rules, now)
        case ClockJumpedBack():
            return Outcome(with_wait_from(process, now))
        case Recheck():
            return _on_recheck(process, observation, rules, now)
        case _:
            return on_result(process, observation, rules, now)


def _on_time_passed(process: TrackedProcess, rules: Rules, now: int) -> Outcome:
    if not turns_overdue(process, rules, now):
        return Outcome(process)
    overdue = enter(process, State.OVERDUE, now, next_check_at=process.next_check_at)
    overdue = replace(overdue, asked=process.asked)
    # From the second round on the end user is late, not the callback: that is no news.
    entries = () if process.round else (Entry("process_overdue", {"provider": process.provider}),)
    return Outcome(overdue, entries)


def _on_recheck(process: TrackedProcess, recheck: Recheck, rules: Rules, now: int) -> Outcome:
    entry = Entry(
        "operator_action",
        {"action": "recheck", "by": recheck.by, "verb": recheck.verb},
    )
    if process.state.is_open:
        verb = recheck.verb or next_verb(process, rules.policy(process.provider))
        due_now = replace(process, asked=verb, tries=0, next_check_at=now)
        return Outcome(due_now, (entry,))
    verb_asked = recheck.verb or Verb.FETCH
    return Outcome(replace(owe_verification(process, now), asked=verb_asked), (entry,))
