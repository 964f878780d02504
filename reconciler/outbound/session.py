"""Opens connections: the pool, TLS, and the headers of every request."""

import asyncio
import ssl
from contextlib import suppress

import aiohttp

from reconciler import __version__
from reconciler.outbound.status_line import StatusKeepingConnector

_KEEPALIVE = 4.0
"""Seconds. Many servers close an idle connection after 5; a request sent in that moment is lost,
and is not repeated, so this side closes first."""

LONGEST_HEADER = 64 * 1024
"""Bytes of one header of an answer, or of its status line. Security policies and the cookies of
firewalls are longer than aiohttp's 8,190."""

MOST_HEADERS = 256
"""Headers of an answer."""


def build_session(tls: ssl.SSLContext, max_concurrency: int) -> aiohttp.ClientSession:
    """Return a session for one target; the caller closes it.

    It opens one connection more than ``max_concurrency``, for a token. Must be called on a
    running loop.
    """
    return aiohttp.ClientSession(
        connector=StatusKeepingConnector(
            limit=max_concurrency + 1, ssl=tls, keepalive_timeout=_KEEPALIVE
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "User-Agent": f"assure-reconciler/{__version__}",
            "Accept": "application/json",
            # aiohttp's own offer depends on the libraries that are installed.
            "Accept-Encoding": "gzip",
        },
        trust_env=False,
        max_line_size=LONGEST_HEADER,
        max_field_size=LONGEST_HEADER,
        max_headers=MOST_HEADERS,
    )


def trusting(ca_file: str) -> ssl.SSLContext:
    """Return a client's TLS that trusts the system's authorities and those of ``ca_file``.

    ``ca_file`` is the path of a PEM file; empty for none. Raises ValueError where it cannot be
    used. With it a certificate need not have all that RFC 5280 demands: docs/decisions/032.
    """
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        except (OSError, ValueError) as exc:
            reason = "no certificate in PEM form" if isinstance(exc, ssl.SSLError) else "unreadable"
            raise ValueError(f"ca_file: {ca_file!r}: {reason}") from exc
    return context


class Retired:
    """Closes sessions that were replaced, once the calls that began with them must be over."""

    def __init__(self) -> None:
        self._over = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()

    def add(self, session: aiohttp.ClientSession, *, after: float) -> None:
        """Close ``session`` in ``after`` seconds: no exchange of it may last longer."""
        task = asyncio.create_task(self._close(session, after), name="retired session")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all of them now."""
        self._over.set()
        await asyncio.gather(*self._closing)

    async def _close(self, session: aiohttp.ClientSession, after: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), after)
        await session.close()
