"""One simulated process, and its JSON for Get process, the callback and the control API."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

FINAL_STATUSES = ("accepted", "rejected", "inconclusive", "canceled", "failed")
PROVIDERS = (
    ("onfido", "documentSelfie"),
    ("readid", "ready"),
    ("signicatvideoid", "substantial"),
)

CANARY_NAME = "Canaria Quillfeather"
CANARY_BIRTH_DATE = "1907-03-19"
CANARY_DOCUMENT = "CANARY-DOC-5520917"
CANARIES = (CANARY_NAME, CANARY_BIRTH_DATE, CANARY_DOCUMENT)
"""Invented personal data of every finished process; leak tests search files and logs for it."""

Delivery = Literal["send", "lose"]


@dataclass(frozen=True, slots=True)
class Callback:
    """A callback that is due, with its three members. `status` is its claim."""

    dossier_id: str
    process_id: str
    status: str

    def body(self) -> dict[str, str]:
        """Return the body that Assure posts."""
        return {
            "dossierId": self.dossier_id,
            "processId": self.process_id,
            "status": self.status,
        }


@dataclass(slots=True)
class SimProcess:
    """One process as it truly is. Times: UTC milliseconds; `finish_at`, `news_at`: monotonic.

    `finish_at` is when it finishes by itself (None: only by `World.finish`), `news_at` when its
    first callback goes out, or would if it were not lost (None: not finished). `callback` and
    `notified` "lose" lose its own callback and those asked for by Notify, whatever the faults
    say. The counters: callbacks planned, sent (a duplicate counts too) and lost; Notify and Get
    process calls that arrived.
    """

    dossier_id: str
    process_id: str
    provider: str
    process_type: str
    created_at: int
    updated_at: int
    status: str = "pending"
    final_status: str | None = None
    finish_at: float | None = None
    news_at: float | None = None
    callback: Delivery = "send"
    notified: Delivery = "send"
    callbacks_planned: int = 0
    callbacks_sent: int = 0
    callbacks_lost: int = 0
    notifies: int = 0
    fetches: int = 0

    @property
    def finished(self) -> bool:
        """Whether the provider has decided."""
        return self.news_at is not None

    def told(self, *, final: bool) -> dict[str, object]:
        """Return the answer of Get process: the result with personal data, or still pending."""
        body: dict[str, object] = {
            "provider": self.provider,
            "processType": self.process_type,
            "status": self.status if final else "pending",
            "processId": self.process_id,
            "dossierId": self.dossier_id,
            "createdAt": iso(self.created_at, timespec="seconds"),
            "updatedAt": iso(self.updated_at if final else self.created_at, timespec="seconds"),
        }
        if final:
            body["finalResult"] = {
                "fullName": CANARY_NAME,
                "dateOfBirth": CANARY_BIRTH_DATE,
                "documentNumber": CANARY_DOCUMENT,
            }
        return body

    def truth(self) -> dict[str, object]:
        """Return all of it for the control API, also what Get process does not tell yet."""
        return {
            "dossierId": self.dossier_id,
            "processId": self.process_id,
            "provider": self.provider,
            "processType": self.process_type,
            "status": self.status,
            "finalStatus": self.final_status,
            "createdAt": iso(self.created_at),
            "callback": self.callback,
            "notified": self.notified,
            "callbacksSent": self.callbacks_sent,
            "callbacksLost": self.callbacks_lost,
            "notifies": self.notifies,
            "fetches": self.fetches,
        }


def iso(milliseconds: int, *, timespec: str = "milliseconds") -> str:
    """Return UTC milliseconds as ISO 8601 with a Z."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")
