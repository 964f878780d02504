"""Reads the answer to Get process, and keeps only the status and a few plain facts.

The answer of a finished process holds personal data (names, birth dates, document numbers).
Nothing but the members of ``ProcessStatus`` ever leaves this file.

The reasons: docs/decisions/026.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from reconciler.ledger.identifiers import flaw_of_text
from reconciler.outbound.body import BodyReader
from reconciler.outbound.errors import UnreadableAnswer
from reconciler.runtime.tolerant_json import Members

_FACTS = frozenset({"finalResult", "provider", "processType", "createdAt", "updatedAt"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """A process as Assure sees it. Times are UTC milliseconds since the epoch."""

    status: str
    """1 to 255 characters, none of them a control character; lower or upper case as sent."""
    has_final_result: bool
    """Whether the answer holds a ``finalResult``."""
    provider: str | None
    process_type: str | None
    created_at: int | None
    updated_at: int | None

    @classmethod
    def from_members(cls, members: Members | None, http_status: int) -> "ProcessStatus":
        """Read an answer; raise UnreadableAnswer where it has no usable status.

        Any other member that is missing or not as expected is None.
        """
        answer = members.values if members else {}
        status = _text(answer.get("status"))
        if status is None:
            raise UnreadableAnswer("no_status", http_status=http_status)
        return cls(
            status=status,
            has_final_result=answer.get("finalResult") is not None,
            provider=_text(answer.get("provider")),
            process_type=_text(answer.get("processType")),
            created_at=_milliseconds(answer.get("createdAt")),
            updated_at=_milliseconds(answer.get("updatedAt")),
        )


def body_reader() -> BodyReader:
    """Return a reader of what an answer is needed for. Only the status must be without doubt."""
    return BodyReader(_FACTS | {"status"}, optional=_FACTS)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and flaw_of_text(value) is None else None


def _milliseconds(value: object) -> int | None:
    """Read ISO 8601; a time without a zone is UTC. None for rubbish, and before 1970."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    # 0001-01-01 is how some servers write "never".
    return (time - _EPOCH) // _MILLISECOND if time >= _EPOCH else None
