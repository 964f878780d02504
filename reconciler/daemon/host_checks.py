"""What will go wrong if nobody acts: a disk that fills up, a certificate that ends."""

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from reconciler.config.models import Tls
from reconciler.inbound.tls import expires_at

LEAST_PART = 0.1
LEAST_BYTES = 1024**3
"""A disk is low when less than both is free: a tenth of it, and 1 GiB."""

DISK_AGAIN = 3_600_000
"""Milliseconds until a disk that is still low is told again."""

CERTIFICATE_DAYS = 21
"""Renewal is usually tried 30 days ahead; by now it has failed for more than a week."""

_DAY = 86_400_000


class HostChecks:
    """Looks ahead once a minute, and warns in time without repeating itself."""

    def __init__(
        self,
        places: Mapping[str, Path],
        *,
        now: Callable[[], int],
        log: FilteringBoundLogger,
    ) -> None:
        """``places``: directories that must have room, by what they hold."""
        self._places = places
        self._now = now
        self._log = log
        self._told_at: dict[str, int] = {}
        self._certificate: tuple[str, int] | None = None
        self.free_mb: dict[str, int] = {}
        """What is free on the disk of each place, as of the last look."""

    def watch(self, files: Tls | None, context: ssl.SSLContext | None) -> None:
        """Watch the certificate of ``context`` from now on, or none."""
        ends = expires_at(context, files.certificate) if context and files else None
        self._certificate = (files.certificate, ends * 1000) if files and ends else None
        self._told_at.pop("certificate", None)
        self._look_at_certificate()

    async def look(self) -> None:
        """Look at everything once."""
        free = await asyncio.to_thread(self._measure)
        self.free_mb = {place: left // 1024**2 for place, (left, _) in free.items()}
        for place, (left, size) in free.items():
            if left >= min(size * LEAST_PART, LEAST_BYTES):
                self._told_at.pop(place, None)
            elif self._may_tell(place, DISK_AGAIN):
                self._log.warning(
                    "disk_low",
                    place=place,
                    path=str(self._places[place]),
                    free_mb=left // 1024**2,
                )
        self._look_at_certificate()

    def _look_at_certificate(self) -> None:
        if self._certificate is None:
            return
        path, expires_at = self._certificate
        days = (expires_at - self._now()) // _DAY
        if days < CERTIFICATE_DAYS and self._may_tell("certificate", _DAY):
            self._log.warning("certificate_expires", certificate=path, days_left=days)

    def _may_tell(self, what: str, again: int) -> bool:
        now, told = self._now(), self._told_at.get(what)
        if told is not None and 0 <= now - told < again:
            return False
        self._told_at[what] = now
        return True

    def _measure(self) -> dict[str, tuple[int, int]]:
        """Return the free bytes and the size of each disk; a place that is not there yet has the
        disk of the nearest directory above it."""
        measured = {}
        for name, place in self._places.items():
            there = next((path for path in (place, *place.parents) if path.exists()), None)
            if there is not None:
                disk = os.statvfs(there)
                measured[name] = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)
        return measured
