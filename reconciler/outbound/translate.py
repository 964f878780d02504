"""Turns aiohttp's exceptions, which carry URLs and headers, into words that are safe to log."""

import errno
import ssl

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError

from reconciler.outbound.errors import CallError, TransportError, UnreadableAnswer

_ERRNO_WORDS = {errno.ECONNREFUSED: "connection_refused", errno.ETIMEDOUT: "timeout"}

_NOT_VALID_NOW = {9, 10}
"""OpenSSL's codes for a certificate that is not valid yet, and for one that has expired."""

_OTHER_NAME = {62, 63, 64}
_UNKNOWN_CA = {2, 18, 19, 20, 21, 27}
_PROTOCOL = {
    "HTTP_REQUEST",
    "NO_PROTOCOLS_AVAILABLE",
    "NO_SHARED_CIPHER",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "UNKNOWN_PROTOCOL",
    "UNSUPPORTED_PROTOCOL",
    "WRONG_SSL_VERSION",
    "WRONG_VERSION_NUMBER",
}
"""OpenSSL's reasons where the two sides have no version or cipher in common, or one speaks no
TLS at all."""


def translated(exc: aiohttp.ClientError | OSError | ValueError, status: int | None) -> CallError:
    """Return the error that ``exc`` means; ``status`` is that of the answer it came with."""
    match exc:
        case TimeoutError():
            return TransportError("timeout", http_status=status)
        case aiohttp.ClientHttpProxyError() | aiohttp.ClientProxyConnectionError():
            return TransportError("proxy")
        case aiohttp.ClientResponseError():
            return UnreadableAnswer("not_http", http_status=status)
        case aiohttp.ClientPayloadError(__cause__=ContentEncodingError()):
            return UnreadableAnswer("bad_encoding", http_status=status)
        case aiohttp.ClientConnectorDNSError():
            return TransportError("dns")
        case aiohttp.ClientSSLError():
            return TransportError(_word_of_tls(exc))
        case aiohttp.ClientConnectorError():
            return TransportError(_ERRNO_WORDS.get(exc.os_error.errno or 0, "unreachable"))
        case ValueError() | aiohttp.NonHttpUrlClientError():
            return TransportError("unsendable")  # a method, host or header that cannot be
        case _:
            return TransportError("disconnected", http_status=status)


def _word_of_tls(exc: aiohttp.ClientSSLError) -> str:
    cause: Exception = exc.os_error
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        cause = exc.certificate_error
    if isinstance(cause, ssl.SSLCertVerificationError):
        code = cause.verify_code
        if code in _NOT_VALID_NOW:
            return "tls_expired"
        if code in _OTHER_NAME:
            return "tls_name"
        return "tls_unknown_ca" if code in _UNKNOWN_CA else "tls"
    if isinstance(cause, ssl.SSLError) and cause.reason in _PROTOCOL:
        return "tls_protocol"
    return "tls"
