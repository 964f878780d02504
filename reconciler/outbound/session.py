"""The connections that we open: pool, TLS, and what every request carries."""

import ssl

import aiohttp

from reconciler import __version__

_KEEPALIVE = 4.0
"""Seconds. Many servers close an idle connection after 5; a request sent in that moment is lost,
and is not repeated, so ours are closed first."""


def build_session(*, ca_file: str, max_concurrency: int) -> aiohttp.ClientSession:
    """Return a session for one target; the caller closes it.

    ``ca_file`` names a PEM file whose certificates are trusted beside the system's; empty for
    none. There is one connection more than ``max_concurrency``, for a token. Must be called on
    a running loop. Raises ValueError where ``ca_file`` cannot be used.
    """
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ValueError) as exc:
            reason = "no certificate in PEM form" if isinstance(exc, ssl.SSLError) else "unreadable"
            raise ValueError(f"ca_file: {ca_file!r}: {reason}") from exc
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=max_concurrency + 1, ssl=context, keepalive_timeout=_KEEPALIVE
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "User-Agent": f"assure-reconciler/{__version__}",
            "Accept": "application/json",
            # What aiohttp offers by itself depends on the libraries that are installed.
            "Accept-Encoding": "gzip",
        },
        trust_env=False,
    )
