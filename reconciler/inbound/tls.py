"""The public listener's TLS: versions 1.2 and 1.3 with forward secrecy.

The ciphers of 1.2 are those of Mozilla's "intermediate" profile, without the finite-field ones;
those of 1.3 are all good. https://wiki.mozilla.org/Security/Server_Side_TLS
"""

import ssl
from contextlib import suppress

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, for which ``ssl`` has no name."""

_TURNS = 4
"""Exchanges of messages; a handshake needs fewer."""


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
        raise OSError(error.errno, f"{files}: {error.strerror or error}") from error
    return context


def expires_at(context: ssl.SSLContext, certificate: str) -> int | None:
    """Return when the certificate of ``context`` ends, in UTC seconds; None if nobody can tell.

    ``ssl`` parses only a certificate that the other side has shown in a handshake. So this makes
    one in memory, with a client that trusts this certificate at any time.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags = ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    client.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client.load_verify_locations(certificate)
        ours = client.wrap_bio(to_client, to_server)
        theirs = context.wrap_bio(to_server, to_client, server_side=True)
        for _ in range(_TURNS):
            for side in (ours, theirs):
                with suppress(ssl.SSLWantReadError):
                    side.do_handshake()
        shown = ours.getpeercert() or {}
    except (OSError, ValueError):
        return None
    return ssl.cert_time_to_seconds(str(shown["notAfter"])) if "notAfter" in shown else None
