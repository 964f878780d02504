"""A process on the ledger, and the outcome of a transition."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Literal

from reconciler.ledger.identifiers import key_of
from reconciler.ledger.policy import Verb


class State(StrEnum):
    """The states of a process. The last three are terminal; every process ends in one."""

    WAITING = "waiting"
    """Inside its time-out, or last seen pending: nothing is late."""
    REPORTED = "reported"
    """A callback claims a final status; Get process has not confirmed it yet."""
    OVERDUE = "overdue"
    """A callback should have come, and the result is not known."""
    SETTLED = "settled"
    """The final status is known."""
    GONE = "gone"
    """Assure answers 404."""
    EXPIRED = "expired"
    """Given up."""

    @property
    def is_open(self) -> bool:
        """Whether the result is still to come."""
        return self in (State.WAITING, State.REPORTED, State.OVERDUE)


class SettledBy(StrEnum):
    """How the final status became known."""

    CALLBACK = "callback"
    NOTIFY = "notify"
    """A callback that came because we asked for it."""
    FETCH = "fetch"


class Lane(IntEnum):
    """The queues of the sweeper; the lowest number is served first."""

    CONFIRM = 0
    """Confirmations of a claim and verifications of a settled status."""
    ASKED = 1
    """Rechecks of processes that are not overdue."""
    OVERDUE = 2
    """Overdue processes, on their ladder."""
    CATCH_UP = 3
    """Processes that waited while the daemon was down: one Get process each."""
    WAITING = 4
    """Nothing to call; turns overdue when due."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right of one instance to make one call about a process."""

    owner: str
    verb: Verb
    begun_at: int
    until: int


@dataclass(frozen=True, kw_only=True)
class TrackedProcess:
    """One row of the ledger. Times are UTC milliseconds since the epoch."""

    process_id: str
    """As it was registered, else as it was first seen; see ``key``."""
    dossier_id: str
    registered_at: int
    timeout_from: int
    """``callback_timeout`` counts from here: the registered ``createdAt``, else registration."""
    provider: str | None = None
    process_type: str | None = None
    reference: str | None = None
    created_at: int | None = None
    adopted: bool = False
    """Came by a callback; nobody has registered it."""

    state: State = State.WAITING
    state_since: int = 0
    status: str | None = None
    """The final status. Never an unconfirmed claim."""
    settled_by: SettledBy | None = None
    settled_at: int | None = None
    revision: int = 0
    """How often a verification has changed the result."""

    callback_at: int | None = None
    """When the callback with the newest claim arrived."""
    claimed_status: str | None = None
    claimed_by: SettledBy | None = None
    last_receipt: str | None = None
    duplicates: int = 0

    next_check_at: int | None = None
    """Set exactly when the process is open, or terminal with a verification owed."""
    scheduled_at: int = 0
    """When ``next_check_at`` was decided; later than now after the clock has jumped back."""
    round: int = 0
    """Completed rounds of the ladder."""
    rung: int = 0
    tries: int = 0
    """Failed calls on this rung."""
    lags: int = 0
    """How often Get process answered *pending* after a callback had claimed a final status."""
    unknown_status: str | None = None
    """The status in no list that Get process has answered, and not another one since."""
    unknown_since: int | None = None
    unknown_looks: int = 0
    pending_seen: bool = False
    missing_at: int | None = None
    """When Get process first answered 404."""
    notified_at: int | None = None
    """When the last accepted Notify was sent (not answered: its callback may come first)."""
    asked: Verb | None = None
    """The call that a person asked for."""
    verify_since: int | None = None
    """Since when a terminal process is owed a verification."""
    catch_up: bool = False
    """Waited while the daemon was down: owed one Get process."""
    notify_attempts: int = 0
    fetch_attempts: int = 0
    recent_calls: tuple[int, ...] = ()
    """When the newest calls began that no person asked for, the oldest first."""
    last_error: str | None = None
    """An error class and HTTP status, such as ``http_503``; never text of an answer."""

    attempt: int = 0
    """Number of the newest lease: the fencing token of its result."""
    lease: Lease | None = None

    @property
    def key(self) -> str:
        """The id by which it is found, whatever the letter case of a UUID."""
        return key_of(self.process_id)

    @property
    def ended_at(self) -> int | None:
        """When it ended with its present result; a correction is a new end. None while open."""
        if self.state.is_open:
            return None
        return self.state_since if self.settled_at is None else self.settled_at

    @property
    def lane(self) -> Lane | None:
        """The sweeper's queue that it is in; None when it will never be due again."""
        if self.next_check_at is None:
            return None
        if self.state not in (State.WAITING, State.OVERDUE):
            return Lane.CONFIRM
        if self.state is State.OVERDUE:
            return Lane.OVERDUE
        if self.asked:
            return Lane.ASKED
        return Lane.CATCH_UP if self.catch_up else Lane.WAITING


FieldValue = str | int | bool | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a process's timeline; logged under the same name."""

    event: str
    fields: Mapping[str, FieldValue] = field(default_factory=dict)


DeliveryType = Literal["process.settled", "process.corrected", "process.gone", "process.expired"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """News for the user's application: the process as it stands after the transition."""

    type: DeliveryType


@dataclass(frozen=True)
class Outcome:
    """The result of applying an observation to a process."""

    process: TrackedProcess | None
    """None after a callback for an unknown process that is not adopted."""
    entries: tuple[Entry, ...] = ()
    delivery: Delivery | None = None
