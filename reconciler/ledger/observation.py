"""The observations: everything that can happen to a process.

Each has an identity: a callback its receipt id, the result of a call its attempt number. So the
same observation applied twice changes nothing more.
"""

from dataclasses import dataclass

from reconciler.ledger.policy import Verb


@dataclass(frozen=True, slots=True)
class Registration:
    """The user's application has started this process."""

    process_id: str
    dossier_id: str
    provider: str | None = None
    process_type: str | None = None
    reference: str | None = None
    created_at: int | None = None
    by: str | None = None
    """The caller: a person's name, or the way it came."""


@dataclass(frozen=True, slots=True)
class Callback:
    """Assure's callback: an unsigned claim that the process has ``status``."""

    receipt_id: str
    process_id: str
    dossier_id: str
    status: str
    received_at: int


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The sweeper looked: a waiting process whose time-out is over turns overdue."""


@dataclass(frozen=True, slots=True)
class ClockJumpedBack:
    """The clock shows a time before that at which the next check was decided."""


@dataclass(frozen=True, slots=True)
class Recheck:
    """A person asks for a call now: ``verb``, or else the next one."""

    verb: Verb | None
    by: str


@dataclass(frozen=True, slots=True)
class NotifyAccepted:
    """Notify answered 2xx: a callback should follow."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """Get process answered 200."""

    attempt: int
    status: str
    has_final_result: bool = False
    provider: str | None = None
    process_type: str | None = None
    created_at: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessNotFound:
    """Get process answered 404."""

    attempt: int
    path_proven: bool
    """Whether Get process has ever answered 200 under the present URL."""


@dataclass(frozen=True, slots=True)
class CallRefused:
    """Any other 4xx but 401, 403 and 429 (a 404 of Notify too): an answer, not a fault."""

    attempt: int
    error: str


@dataclass(frozen=True, slots=True)
class CallFailed:
    """Transport, 5xx, garbage, 401 after a fresh token, 403."""

    attempt: int
    error: str
    retry_after: int = 0
    """Milliseconds that the answer asked us to wait with this process."""


@dataclass(frozen=True, slots=True)
class CallThrottled:
    """429, or a call that was not made: no attempt is spent."""

    attempt: int
    was_made: bool = False


CallResult = NotifyAccepted | Fetched | ProcessNotFound | CallRefused | CallFailed | CallThrottled
Observation = Registration | Callback | TimePassed | ClockJumpedBack | Recheck | CallResult
