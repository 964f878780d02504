"""Turns aiohttp's exceptions, which carry URLs and headers, into words that are safe to log."""

import errno

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError

from reconciler.outbound.errors import CallError, TransportError, UnreadableAnswer

_ERRNO_WORDS = {errno.ECONNREFUSED: "connection_refused", errno.ETIMEDOUT: "timeout"}


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
            return TransportError("tls")
        case aiohttp.ClientConnectorError():
            return TransportError(_ERRNO_WORDS.get(exc.os_error.errno or 0, "unreachable"))
        case ValueError() | aiohttp.NonHttpUrlClientError():
            return TransportError("unsendable")  # a method, host or header that cannot be
        case _:
            return TransportError("disconnected", http_status=status)
