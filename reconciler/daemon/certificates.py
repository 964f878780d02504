"""The PEM files that the configuration names: what they hold, and whether they can be used."""

import errno
from hashlib import sha256
from pathlib import Path

from reconciler.config import Settings
from reconciler.daemon.build import tls_of
from reconciler.outbound.session import trusting

_HIDDEN = (errno.EACCES, errno.EPERM)
_CREDENTIALS = "/run/credentials/"
"""Where systemd puts what only the unit may read."""


def pem_files(settings: Settings) -> dict[str, str]:
    """Return the path of each by its dotted key."""
    tls, delivery = settings.listener.tls, settings.delivery
    paths = {
        "listener.tls.certificate": tls.certificate if tls else "",
        "listener.tls.key": tls.key if tls else "",
        "assure.ca_file": settings.assure.ca_file,
        "delivery.ca_file": delivery.ca_file if delivery else "",
    }
    return {key: path for key, path in paths.items() if path}


def fingerprints(settings: Settings) -> dict[str, str]:
    """Return what stands for the content of each, by its dotted key."""
    return {key: _fingerprint(path) for key, path in pem_files(settings).items()}


def check_files(settings: Settings) -> tuple[list[str], list[str]]:
    """Return a line for each that cannot be used, and one for each that only the daemon can read.

    Blocks.
    """
    problems: list[str] = []
    unchecked: list[str] = []
    readable: set[str] = set()
    for key, path in pem_files(settings).items():
        try:
            Path(path).read_bytes()
        except OSError as error:
            line = f"{key}: file {path!r} cannot be read: {error.strerror}"
            is_hidden = error.errno in _HIDDEN or path.startswith(_CREDENTIALS)
            (unchecked if is_hidden else problems).append(line)
        else:
            readable.add(key)
    if {"listener.tls.certificate", "listener.tls.key"} <= readable:
        try:
            tls_of(settings)
        except OSError as error:
            problems.append(error.strerror or str(error))
    for key in sorted(readable & {"assure.ca_file", "delivery.ca_file"}):
        try:
            trusting(pem_files(settings)[key])
        except ValueError as error:
            problems.append(f"{key.removesuffix('ca_file')}{error}")
    return problems, unchecked


def _fingerprint(path: str) -> str:
    try:
        return sha256(Path(path).read_bytes()).hexdigest()
    except OSError:  # whoever loads it says so
        return ""
