"""Holds the settings of ``[assure]`` that a call needs."""

from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import quote

from yarl import URL


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One Assure environment with the credentials of one client."""

    base_url: str
    """May have a path and a trailing slash."""
    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str
    process_path: str
    """Template with ``{dossierId}`` and ``{processId}``, appended to ``base_url``."""
    notify_path: str
    notify_method: str
    timeout: float
    """Seconds for one whole call, from the connection to the last byte read."""
    proxy: str = field(default="", repr=False)
    """URL of an egress proxy, perhaps with user and password; empty for none."""

    def fingerprint(self) -> str:
        """Return 16 hex digits that stand for the URL of Get process.

        Under it the store remembers that the path has been proven right.
        """
        return sha256((self.base_url + self.process_path).encode()).hexdigest()[:16]

    def url(self, template: str, dossier_id: str, process_id: str) -> URL:
        """Return the URL of ``template`` (one of the two paths) for one process.

        The ids are data: whatever they hold arrives as one path segment each, as it is.
        """
        path = template.replace("{dossierId}", _segment(dossier_id))
        path = path.replace("{processId}", _segment(process_id))
        base = str(URL(self.base_url)).rstrip("/")
        # encoded=True: yarl must neither resolve %2E%2E away nor encode a second time.
        return URL(f"{base}/{path.lstrip('/')}", encoded=True)


def _segment(value: str) -> str:
    if value in {".", ".."}:  # quote() leaves dots alone, but servers and proxies resolve them
        return value.replace(".", "%2E")
    return quote(value, safe="")
