"""The host checks warn before something goes wrong."""

import os
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from reconciler.daemon.certificates import Certificates
from reconciler.daemon.host_checks import HostChecks
from reconciler.runtime.current_value import Current
from tests.clock import PlayedClock

HOUR = 3_600_000
DAY = 24 * HOUR
GIB = 1024**3


class Disk:
    """The answer of statvfs for a disk of so many bytes."""

    def __init__(self) -> None:
        self.size = 100 * GIB
        self.free = 50 * GIB

    def __call__(self, _: Path) -> Any:
        return os.statvfs_result(
            (4096, 4096, self.size // 4096, 0, self.free // 4096, 0, 0, 0, 0, 255)
        )


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(os, "statvfs", made)
    return made


class Watch:
    def __init__(self, directory: Path) -> None:
        self.capture = LogCapture()
        self.clock = PlayedClock()
        log = structlog.wrap_logger(None, processors=[self.capture])
        self.certificates = Current(Certificates())
        self.checks = HostChecks({"store": directory}, self.certificates, self.clock, log)

    async def after(self, ms: int) -> list[Any]:
        """Look again so much later; return what is said about it."""
        self.clock.wall += ms
        self.capture.entries.clear()
        await self.checks.turn()
        return [*self.capture.entries]


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path / "not" / "there" / "yet")


@pytest.mark.parametrize(
    ("size", "free", "is_low"),
    [
        (100 * GIB, 2 * GIB, False),  # little of it, but enough
        (100 * GIB, GIB - 4096, True),
        (2 * GIB, GIB // 2, False),  # a small disk
        (2 * GIB, GIB // 10, True),
        (2 * GIB, 0, True),
    ],
)
async def test_a_disk_is_low_when_little_of_it_and_little_at_all_is_free(
    watch: Watch, disk: Disk, size: int, free: int, is_low: bool
) -> None:
    disk.size, disk.free = size, free
    said = await watch.after(0)
    assert [line["event"] for line in said] == ["disk_low"] * is_low
    assert watch.checks.free_mb == {"store": free // 1024**2}


async def test_a_low_disk_is_told_at_once_then_hourly_and_anew_when_it_was_better(
    watch: Watch, disk: Disk
) -> None:
    assert await watch.after(0) == []
    disk.free = 0
    (said,) = await watch.after(60_000)
    assert (said["place"], said["free_mb"], said["log_level"]) == ("store", 0, "warning")
    assert await watch.after(HOUR - 1) == []
    assert len(await watch.after(1)) == 1
    disk.free = 50 * GIB
    assert await watch.after(60_000) == []
    disk.free = 0
    assert len(await watch.after(60_000)) == 1
    assert len(await watch.after(-2 * HOUR)) == 1  # the clock has jumped back


async def test_a_certificate_that_ends_soon_is_told_daily_and_at_once_after_a_reload(
    watch: Watch, disk: Disk
) -> None:
    ends_at = watch.clock.wall + 20 * DAY
    watch.certificates.value = Certificates(listener_path="a.pem", listener_ends_at=ends_at)
    (said,) = await watch.after(0)
    assert (said["certificate"], said["days_left"]) == ("a.pem", 20)
    assert await watch.after(DAY - 1) == []
    assert len(await watch.after(1)) == 1

    watch.certificates.value = Certificates(listener_path="b.pem", listener_ends_at=ends_at)
    (said,) = await watch.after(60_000)
    assert said["certificate"] == "b.pem"

    watch.certificates.value = Certificates(
        listener_path="c.pem", listener_ends_at=ends_at + DAY * 90
    )
    assert await watch.after(60_000) == []
