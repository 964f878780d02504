"""The disk: how much room is left, and making a directory's entries durable."""

import errno
import os
from pathlib import Path
from typing import NamedTuple


class Space(NamedTuple):
    """The room on one disk, in bytes."""

    free: int
    """For this user, without what is reserved for root."""
    size: int


def space_of(path: Path) -> Space:
    """Return the room on the disk of ``path``, or of the nearest directory above it. Blocks.

    Raises OSError.
    """
    there = next(place for place in (path, *path.parents) if place.exists())
    disk = os.statvfs(there)
    return Space(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)


def sync_directory(directory: Path) -> None:
    """Make durable which files ``directory`` has (fsync). Blocks. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def name_of(error: OSError) -> str:
    """Return the name of the error, such as ENOSPC; TimeoutError for a disk that hangs."""
    name: str = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return name
