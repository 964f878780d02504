"""Warns of what will fail if nobody acts: a disk that fills up, a certificate that ends."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from reconciler.daemon.certificates import Certificates
from reconciler.runtime.bell import Bell
from reconciler.runtime.clock import Clock
from reconciler.runtime.current_value import Current
from reconciler.runtime.disk import Space, space_of

SECONDS = 60.0

LEAST_PART = 0.1
LEAST_BYTES = 1024**3
"""A disk is low when less than both is free: a tenth of it, and 1 GiB."""

DISK_AGAIN = 3_600_000
"""Milliseconds until a disk that is still low is told again."""

CERTIFICATE_DAYS = 21
"""Renewal is usually tried 30 days ahead; by now it has failed for more than a week."""

_DAY = 86_400_000


class HostChecks:
    """Looks at disks and certificate once a minute, and warns without repeating itself."""

    name = "host_checks"
    seconds = SECONDS

    def __init__(
        self,
        places: Mapping[str, Path],
        certificates: Current[Certificates],
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        """``places``: directories that must have room, by what they hold."""
        self.bell = Bell(self.name)
        self._places = places
        self._certificates = certificates
        self._clock = clock
        self._log = log
        self._told_at: dict[str, int] = {}
        self._told_of: Certificates | None = None
        self.free_mb: dict[str, int] = {}
        """The room on the disk of each place, as of the last look."""

    async def turn(self) -> bool:
        """Look at everything once."""
        spaces = await asyncio.to_thread(self._measure)
        self.free_mb = {place: space.free // 1024**2 for place, space in spaces.items()}
        for place, space in spaces.items():
            if space.free >= min(space.size * LEAST_PART, LEAST_BYTES):
                self._told_at.pop(place, None)
            elif self._may_tell(place, DISK_AGAIN):
                self._log.warning(
                    "disk_low",
                    place=place,
                    path=str(self._places[place]),
                    free_mb=space.free // 1024**2,
                )
        self._look_at_certificate()
        return False

    def _look_at_certificate(self) -> None:
        certificates = self._certificates.value
        if certificates is not self._told_of:  # a reload: what is in use now is told at once
            self._told_of = certificates
            self._told_at.pop("certificate", None)
        if certificates.listener_ends_at is None:
            return
        days = (certificates.listener_ends_at - self._clock.now()) // _DAY
        if days < CERTIFICATE_DAYS and self._may_tell("certificate", _DAY):
            path = certificates.listener_path
            self._log.warning("certificate_expires", certificate=path, days_left=days)

    def _may_tell(self, subject: str, again: int) -> bool:
        now, told = self._clock.now(), self._told_at.get(subject)
        if told is not None and 0 <= now - told < again:
            return False
        self._told_at[subject] = now
        return True

    def _measure(self) -> dict[str, Space]:
        measured = {}
        for name, place in self._places.items():
            try:
                measured[name] = space_of(place)
            except OSError:  # a disk that does not answer has no room to tell
                continue
        return measured
