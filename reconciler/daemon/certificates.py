"""The PEM files that the configuration names: loaded once for each reading, and what is wrong.

A start, a reload and ``check-config`` load them in the same way, so a file that one of them takes
is good for the others.
"""

import errno
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from reconciler.config import Settings
from reconciler.inbound.chain import flaw_of_chain, is_self_signed
from reconciler.inbound.tls import expires_at, server_context
from reconciler.outbound.session import trusting

_HIDDEN = (errno.EACCES, errno.EPERM)
_CREDENTIALS = "/run/credentials/"
"""Where systemd puts files that only the unit may read."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """The PEM files of one reading, loaded."""

    listener: ssl.SSLContext | None = None
    """The public listener's TLS; None: plain HTTP."""
    listener_path: str = ""
    listener_ends_at: int | None = None
    """When the listener's certificate ends, in UTC milliseconds; None if nobody can tell."""
    trusted: Mapping[str, ssl.SSLContext] = field(default_factory=dict)
    """The client TLS for ``assure`` and ``delivery``, by section."""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """The SHA-256 of each file, by its dotted key."""


@dataclass(slots=True)
class Findings:
    """The faults of the files, one line each."""

    problems: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    """Files that this user cannot read but the daemon perhaps can."""


def load_certificates(settings: Settings) -> tuple[Certificates, Findings]:
    """Load all PEM files of ``settings``. Blocks.

    A file that cannot be used is missing in the first result and has a line in the second.
    """
    findings = Findings()
    contents = _read_all(_paths(settings), findings)
    tls = settings.listener.tls
    listener, ends_at = None, None
    if tls and {"listener.tls.certificate", "listener.tls.key"} <= contents.keys():
        try:
            listener = server_context(tls.certificate, tls.key)
        except OSError as error:
            findings.problems.append(error.strerror or str(error))
        else:
            seconds = expires_at(listener, tls.certificate)
            ends_at = None if seconds is None else seconds * 1000
    trusted = {}
    for section, path in _authorities(settings).items():
        if path and f"{section}.ca_file" not in contents:
            continue
        try:
            trusted[section] = trusting(path)
        except ValueError as error:
            findings.problems.append(f"{section}.{error}")
    certificates = Certificates(
        listener=listener,
        listener_path=tls.certificate if tls else "",
        listener_ends_at=ends_at,
        trusted=trusted,
        fingerprints={key: sha256(content).hexdigest() for key, content in contents.items()},
    )
    return certificates, findings


def look_at_chain(settings: Settings) -> tuple[list[str], list[str]]:
    """Return the problems of the listener's chain, and notes. Blocks.

    For ``check-config``: a daemon runs with such a certificate, for some callers know its issuer.
    """
    tls = settings.listener.tls
    if tls is None:
        return [], []
    where = f"listener.tls.certificate: {tls.certificate!r}"
    try:
        if flaw := flaw_of_chain(tls.certificate, tls.key):
            return [f"{where}: {flaw}"], []
        if is_self_signed(tls.certificate, tls.key):
            return [], [f"{where}: note: is self-signed; only callers that have it will trust it"]
    except OSError:
        pass  # told by ``load_certificates``
    return [], []


def _authorities(settings: Settings) -> dict[str, str]:
    found = {"assure": settings.assure.ca_file}
    if settings.delivery is not None:
        found["delivery"] = settings.delivery.ca_file
    return found


def _paths(settings: Settings) -> dict[str, str]:
    """Return the path of each file by its dotted key."""
    tls = settings.listener.tls
    paths = {f"{section}.ca_file": path for section, path in _authorities(settings).items()}
    if tls is not None:
        paths["listener.tls.certificate"] = tls.certificate
        paths["listener.tls.key"] = tls.key
    return {key: path for key, path in sorted(paths.items()) if path}


def _read_all(paths: Mapping[str, str], findings: Findings) -> dict[str, bytes]:
    contents = {}
    for key, path in paths.items():
        try:
            contents[key] = Path(path).read_bytes()
        except OSError as error:
            line = f"{key}: file {path!r} cannot be read: {error.strerror}"
            is_hidden = error.errno in _HIDDEN or path.startswith(_CREDENTIALS)
            (findings.unreadable if is_hidden else findings.problems).append(line)
    return contents
