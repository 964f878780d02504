"""Runs a command in a mount namespace of its own, where a directory takes no write."""

import os
import shutil
import subprocess
from pathlib import Path

_MOUNT = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'


def can_mount() -> bool:
    if os.geteuid() or shutil.which("unshare") is None:
        return False
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return not tried.returncode


def with_read_only(directory: Path) -> list[str]:
    """Return the words before a command that sees ``directory`` on a read-only mount."""
    return ["unshare", "-m", "sh", "-c", _MOUNT, "sh", str(directory)]
