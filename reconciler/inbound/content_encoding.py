"""Unpacks a compressed body, never beyond a limit."""

import zlib
from collections.abc import Sequence

KNOWN = ("gzip", "x-gzip", "deflate")

_ANY_HEADER = 47
"""``zlib``'s number for: gzip or zlib, as the data says."""
_NO_HEADER = -15
"""``zlib``'s number for: deflate alone, which some send as "deflate"."""


class UnknownEncodingError(ValueError):
    """A Content-Encoding that is not unpacked here."""


class TooLargeError(ValueError):
    """The unpacked body is beyond the limit."""


def encoding_of(values: Sequence[str]) -> str | None:
    """Return the encoding that the Content-Encoding headers name. Raises UnknownEncodingError.

    None: the body is as it is. A header that comes twice with one value counts once.
    """
    if not values:
        return None
    named = {value.strip().lower() for value in values} - {"", "identity"}
    if not named:
        return None
    encoding = named.pop()
    if named or encoding not in KNOWN:
        raise UnknownEncodingError
    return encoding


def unpack(body: bytes, most: int) -> bytes:
    """Return ``body`` unpacked. Raises TooLargeError beyond ``most`` bytes, and zlib.error."""
    unpacked = b""
    while body:
        try:
            piece, body = _unpack_one(body, most - len(unpacked), _ANY_HEADER)
        except zlib.error:
            if unpacked:
                raise
            piece, body = _unpack_one(body, most, _NO_HEADER)
        unpacked += piece
    return unpacked


def _unpack_one(body: bytes, most: int, wbits: int) -> tuple[bytes, bytes]:
    """Return the first stream in ``body`` unpacked, and what follows it."""
    stream = zlib.decompressobj(wbits)
    unpacked = stream.decompress(body, most + 1)
    if len(unpacked) > most:
        raise TooLargeError
    if not stream.eof:
        raise zlib.error("the stream does not end")
    return unpacked, stream.unused_data
