"""The pure core: processes, observations, and the function that applies one to the other.

No I/O, no clock, no async, no third-party library. ``decide`` tells what is next,
``transition`` is the only function that changes a state. docs/lifecycle.md is its specification.
"""

from reconciler.ledger.as_json import iso, process_json
from reconciler.ledger.next_call import Call, Decision, Idle, TurnOverdue, decide, held_back, lease
from reconciler.ledger.observation import (
    Callback,
    CallFailed,
    CallRefused,
    CallThrottled,
    ClockJumpedBack,
    Fetched,
    NotifyAccepted,
    Observation,
    ProcessNotFound,
    Recheck,
    Registration,
    TimePassed,
)
from reconciler.ledger.policy import Backoff, Policy, Rules, Verb
from reconciler.ledger.process import (
    Delivery,
    DeliveryType,
    Entry,
    Lane,
    Lease,
    Outcome,
    SettledBy,
    State,
    TrackedProcess,
)
from reconciler.ledger.registration import is_other_dossier
from reconciler.ledger.time_ahead import of_the_past
from reconciler.ledger.transition import transition

__all__ = [
    "Backoff",
    "Call",
    "CallFailed",
    "CallRefused",
    "CallThrottled",
    "Callback",
    "ClockJumpedBack",
    "Decision",
    "Delivery",
    "DeliveryType",
    "Entry",
    "Fetched",
    "Idle",
    "Lane",
    "Lease",
    "NotifyAccepted",
    "Observation",
    "Outcome",
    "Policy",
    "ProcessNotFound",
    "Recheck",
    "Registration",
    "Rules",
    "SettledBy",
    "State",
    "TimePassed",
    "TrackedProcess",
    "TurnOverdue",
    "Verb",
    "decide",
    "held_back",
    "is_other_dossier",
    "iso",
    "lease",
    "of_the_past",
    "process_json",
    "transition",
]
