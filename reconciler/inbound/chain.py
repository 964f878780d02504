"""Tells whether the file of a certificate holds the chain that a caller needs.

OpenSSL judges, as it does for most callers: the certificates of the file are trusted one by one,
and a handshake in memory says whether the first leads to them. No library beside ``ssl`` is needed.
"""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from reconciler.inbound.tls import lenient_client, server_context, shown_to

_PEM = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_ORDER = "write the certificate first, then that of its issuer, and so on"


def flaw_of_chain(certificate: str, key: str) -> str | None:
    """Return why callers will not trust the file ``certificate``, which goes with ``key``.

    None where it holds its chain, or needs none. Blocks. Raises OSError.
    """
    blocks = _PEM.findall(Path(certificate).read_text("latin-1"))
    if not blocks:
        return None
    leaf = blocks[0]
    others = [block for block in blocks if block != leaf]
    with _alone(leaf) as path:
        try:
            context = server_context(path, key)
        except OSError:
            return _flaw_of_key(others, key)
        issuer = _issuer(context, leaf)
        if issuer is None or any(_leads_to(context, other) for other in others[:1]):
            return None
        if others and _leads_to(context, *others):
            return f"the certificates stand in the wrong order; {_ORDER}"
        if others:
            return f"the second certificate did not issue the first, {issuer} did; {_ORDER}"
        if _is_known(context):
            return None
    return (
        f"holds the certificate without its chain: that of its issuer, {issuer}, is missing, and "
        f"callers will refuse it; {_ORDER} (often named fullchain.pem)"
    )


def is_self_signed(certificate: str, key: str) -> bool:
    """Return whether the first certificate of the file is its own issuer. Raises OSError."""
    blocks = _PEM.findall(Path(certificate).read_text("latin-1"))
    return bool(blocks) and _issuer(server_context(certificate, key), blocks[0]) is None


def _flaw_of_key(others: list[str], key: str) -> str | None:
    for other in others:
        with _alone(other) as path:
            try:
                server_context(path, key)
            except OSError:
                continue
        return f"the key belongs to a certificate that is not the first; {_ORDER}"
    return None


def _issuer(context: ssl.SSLContext, leaf: str) -> str | None:
    """Return the name of who issued the certificate of ``context``; None: it did itself."""
    client = lenient_client()
    client.load_verify_locations(cadata=leaf)
    shown = shown_to(client, context)
    if shown.get("issuer") == shown.get("subject"):
        return None
    names = {key: value for part in shown.get("issuer", ()) for key, value in part}
    return repr(names.get("commonName") or names.get("organizationName") or "unnamed")


def _leads_to(context: ssl.SSLContext, *trusted: str) -> bool:
    client = lenient_client()
    client.load_verify_locations(cadata="\n".join(trusted))
    return _trusts(client, context)


def _is_known(context: ssl.SSLContext) -> bool:
    """Return whether an authority of the system has issued the certificate itself."""
    client = lenient_client()
    client.load_default_certs()
    return _trusts(client, context)


def _trusts(client: ssl.SSLContext, context: ssl.SSLContext) -> bool:
    try:
        shown_to(client, context)
    except ssl.SSLError:
        return False
    return True


@contextmanager
def _alone(certificate: str) -> Iterator[str]:
    """Yield the path of a file with only this certificate, which is no secret."""
    with NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(f"{certificate}\n")
        file.flush()
        yield file.name
