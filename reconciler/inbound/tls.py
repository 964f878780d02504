"""The public listener's TLS: versions 1.2 and 1.3 with forward secrecy.

The ciphers of 1.2 are those of Mozilla's "intermediate" profile, without the finite-field ones;
those of 1.3 are all good. https://wiki.mozilla.org/Security/Server_Side_TLS
"""

import ssl
from contextlib import suppress
from typing import Any

from reconciler.inbound.http_parser import PROXY_PROTOCOL

_ALERTS = {
    "UNKNOWN_CA": "unknown_ca",
    "CERTIFICATE_UNKNOWN": "certificate_unknown",
    "BAD_CERTIFICATE": "bad_certificate",
    "CERTIFICATE_EXPIRED": "certificate_expired",
    "HTTP_REQUEST": "http_request",
    "NO_SHARED_CIPHER": "no_shared_cipher",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "no_shared_cipher",
    "NO_SHARED_GROUP": "no_shared_cipher",
    "NO_SUITABLE_KEY_SHARE": "no_shared_cipher",
    "UNSUPPORTED_PROTOCOL": "unsupported_protocol",
    "VERSION_TOO_LOW": "unsupported_protocol",
    "PROTOCOL_VERSION": "unsupported_protocol",
    "WRONG_SSL_VERSION": "unsupported_protocol",
    "EOF": "reset",
    "WRONG_VERSION_NUMBER": "not_tls",
}
"""Our word for what is in OpenSSL's."""

_METHODS = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"CONNECT ")

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, for which ``ssl`` has no name."""

_TURNS = 4
"""Exchanges of messages; a handshake needs fewer."""


def failure_of(error: OSError, begin: bytes) -> str:
    """Return the word for a handshake that failed with ``error`` after the bytes ``begin``."""
    if begin.startswith(PROXY_PROTOCOL):
        return "proxy_protocol"
    if begin.startswith(_METHODS):
        return "http_request"
    if isinstance(error, ssl.SSLError):
        said = f"{error.reason or error}".upper()
        return next((word for part, word in _ALERTS.items() if part in said), "other")
    if isinstance(error, TimeoutError) or "longer than" in str(error):  # asyncio's own words
        return "timeout"
    return "reset" if isinstance(error, ConnectionError) else "other"


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """Return the context for two PEM files: the certificate with its chain, and its key.

    Raises OSError that names both.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        # With a password given nobody is asked for one: at a terminal that would hang.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:  # an ssl.SSLError too: not PEM, or a key that does not fit
        files = f"listener.tls: cannot use {certificate!r} with {key!r}"
        why = error.strerror or str(error)
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            why = "the key belongs to another certificate than the first in the file"
        raise OSError(error.errno, f"{files}: {why}") from error
    return context


def lenient_client() -> ssl.SSLContext:
    """Return a client that trusts what is loaded into it, roots or not, at any time and name."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags = ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    client.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    return client


def shown_to(client: ssl.SSLContext, context: ssl.SSLContext) -> dict[str, Any]:
    """Return what ``client`` gets to know of the certificate of ``context``.

    ``ssl`` parses only a certificate that the other side has shown in a handshake. So this makes
    one in memory. Raises ``ssl.SSLError`` where the client does not trust it.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server)
    theirs = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_TURNS):
        for side in (ours, theirs):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return ours.getpeercert() or {}


def expires_at(context: ssl.SSLContext, certificate: str) -> int | None:
    """Return when the certificate of ``context`` ends, in UTC seconds; None if nobody can tell."""
    client = lenient_client()
    try:
        client.load_verify_locations(certificate)
        shown = shown_to(client, context)
    except (OSError, ValueError):
        return None
    return ssl.cert_time_to_seconds(str(shown["notAfter"])) if "notAfter" in shown else None
