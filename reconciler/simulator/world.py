"""The simulated state: processes, when they finish, and which callbacks go out. No I/O.

Repeatable by seed: ids come from one seeded generator in the order of `add`; every other chance is
a hash of the seed, its purpose, the process id and an ordinal, so that concurrency changes nothing.
"""

import asyncio
import heapq
import uuid
from collections.abc import Callable
from hashlib import blake2b
from itertools import count
from random import Random

from reconciler.runtime.clock import Clock
from reconciler.simulator.calls import Call, CallLog
from reconciler.simulator.faults import Faults
from reconciler.simulator.process import (
    FINAL_STATUSES,
    PROVIDERS,
    Callback,
    Delivery,
    SimProcess,
)

__all__ = ["Faults", "SimProcess", "World"]


class World:
    """All processes, the faults and the record of calls.

    Not for threads: one event loop reads and changes it. `wake` is set whenever the next due
    moment has moved nearer.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        faults: Faults | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.faults = faults or Faults()
        self.processes: dict[str, SimProcess] = {}
        self.clock = clock or Clock()
        self.log = CallLog(self.clock)
        self.wake = asyncio.Event()
        self._seed = seed
        self._random = Random(seed)  # noqa: S311 - repeatable chance, not a secret
        self._agenda: list[tuple[float, int, SimProcess | Callback]] = []
        self._order = count()
        self._changed: asyncio.Event | None = None

    @property
    def calls(self) -> list[Call]:
        """Every call and callback so far, in the order of arrival."""
        return self.log.entries

    @property
    def max_in_flight(self) -> dict[str, int]:
        """By process id: the most API calls that were open at one moment."""
        return self.log.max_in_flight

    def add(
        self,
        *,
        dossier_id: str | None = None,
        process_id: str | None = None,
        provider: str | None = None,
        process_type: str | None = None,
        final_status: str | None = None,
        finish_in: float | None = None,
        callback: Delivery = "send",
        notified: Delivery = "send",
        created_at: int | None = None,
    ) -> SimProcess:
        """Add a process. Ids, provider and final status are made up where absent.

        It finishes by itself after `finish_in` seconds, or only by `finish` when that is None.
        Raises ValueError when the process id is taken.
        """
        made_dossier, made_process = self._uuid(), self._uuid()
        process_id = process_id or made_process
        if process_id in self.processes:
            raise ValueError(f"process {process_id} is there already")
        made_provider, made_type = PROVIDERS[self._pick("provider", process_id, 0, len(PROVIDERS))]
        created = self.clock.now() if created_at is None else created_at
        process = SimProcess(
            dossier_id=dossier_id or made_dossier,
            process_id=process_id,
            provider=provider or made_provider,
            process_type=process_type or dict(PROVIDERS).get(provider or "", made_type),
            created_at=created,
            updated_at=created,
            final_status=final_status,
            callback=callback,
            notified=notified,
        )
        self.processes[process_id] = process
        if finish_in is not None:
            process.final_status = final_status or self._draw_final(process_id)
            process.finish_at = self.clock.monotonic() + finish_in
            self._plan(process.finish_at, process)
        self.changed()
        return process

    def finish(self, process_id: str, status: str | None = None) -> SimProcess:
        """Finish a process now, with this status, else its planned one, else a made-up one.

        A finished one may be given another status: the truth is revised and a callback goes out
        for it. Raises KeyError for an unknown process, ValueError where it has that status already.
        """
        process = self.processes[process_id]
        final = status or process.final_status or self._draw_final(process_id)
        if process.finished and final == process.status:
            raise ValueError(f"process {process_id} is {final} already")
        process.status = process.final_status = final
        process.updated_at = self.clock.now()
        lost = process.callback == "lose" or self.hits("lose_callbacks", process_id)
        process.news_at = self._plan_callback(process, lost=lost)
        self.changed()
        return process

    def notify(self, process: SimProcess) -> bool:
        """Ask for the callback again; False when the process is not finished."""
        if not process.finished:
            return False
        lost = process.notified == "lose" or self.hits(
            "lose_notified", process.process_id, process.callbacks_planned
        )
        self._plan_callback(process, lost=lost)
        self.changed()
        return True

    def shows_final(self, process: SimProcess) -> bool:
        """Tell whether Get process shows the final status already; see `Faults.lag`."""
        if process.news_at is None:
            return False
        return not self.faults.lag or self.clock.monotonic() >= process.news_at + self.faults.lag

    def due(self) -> list[Callback]:
        """Let time pass up to now: finish processes, and return the callbacks that are due.

        Each callback is returned once.
        """
        outgoing: list[Callback] = []
        while self._agenda and self._agenda[0][0] <= self.clock.monotonic():
            item = heapq.heappop(self._agenda)[2]
            if isinstance(item, Callback):
                outgoing.append(item)
            elif not item.finished:
                self.finish(item.process_id)
        return outgoing

    def next_at(self) -> float | None:
        """Return the monotonic time of the next finish or callback."""
        return self._agenda[0][0] if self._agenda else None

    def hits(self, share: str, process_id: str, ordinal: int = 0) -> bool:
        """Tell whether the fault ``share`` hits this call or callback of this process."""
        threshold: float = getattr(self.faults, share)
        return threshold > 0 and self._chance(share, process_id, ordinal) < threshold

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; it is checked again after every change."""
        while not condition():
            self._changed = self._changed or asyncio.Event()
            await self._changed.wait()

    def changed(self) -> None:
        """Wake those who wait in `until`."""
        if self._changed:
            self._changed.set()
            self._changed = None

    def _plan_callback(self, process: SimProcess, *, lost: bool) -> float:
        """Plan a callback, unless it is lost; return its time."""
        at = self.clock.monotonic() + self.faults.callback_delay
        ordinal = process.callbacks_planned
        process.callbacks_planned += 1
        if lost:
            process.callbacks_lost += 1
            return at
        status = process.status
        if self.hits("wrong_claim", process.process_id, ordinal):
            others = [other for other in FINAL_STATUSES if other != status]
            status = others[self._pick("claim", process.process_id, ordinal, len(others))]
        callback = Callback(process.dossier_id, process.process_id, status)
        self._plan(at, callback)
        if self.hits("duplicate_callbacks", process.process_id, ordinal):
            self._plan(at, callback)
        return at

    def _plan(self, at: float, item: SimProcess | Callback) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), item))
        if self._agenda[0][2] is item:
            self.wake.set()

    def _draw_final(self, process_id: str) -> str:
        """Draw a final status; most are accepted, as on a real day."""
        weighted = ("accepted",) * 5 + FINAL_STATUSES
        return weighted[self._pick("final", process_id, 0, len(weighted))]

    def _pick(self, purpose: str, process_id: str, ordinal: int, size: int) -> int:
        return int(self._chance(purpose, process_id, ordinal) * size)

    def _chance(self, purpose: str, process_id: str, ordinal: int) -> float:
        key = f"{self._seed}/{purpose}/{process_id}/{ordinal}".encode(errors="backslashreplace")
        return int.from_bytes(blake2b(key, digest_size=6).digest(), "big") / 2**48

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))
