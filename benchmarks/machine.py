"""Describes the machine of a run by what its figures depend on, without naming it."""

import os
import platform
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from reconciler import __version__

_SYNCS = 50


def describe(folder: Path) -> dict[str, str | int | float]:
    """Return what to write beside the figures. ``folder``: where the stores are."""
    cores = os.sched_getaffinity(0)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "reconciler": __version__,
        "cores": len(cores),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "fdatasync_ms": _sync_time(folder),
    }


def _sync_time(folder: Path) -> float:
    """Return the median time of one durable append: a memory disk shows itself by a zero."""
    taken = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(b"x" * 4096)
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begun)
    return round(median(taken) * 1000, 2)
