"""Finds the encoding of a JSON document, which may have a byte order mark."""

import codecs
import re

_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^\s;,"]+)', re.IGNORECASE)

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def charset_of(content_type: str | None) -> str | None:
    """Return the charset that a Content-Type names.

    aiohttp asks Python's parser of e-mail headers, which fails on some (IndexError).
    """
    found = _CHARSET.search(content_type or "")
    return found[1] if found else None


def text_of(body: bytes, charset: str | None) -> str:
    """Return ``body`` as text, without its mark."""
    encoding, rest = encoding_of(body, charset)
    return rest.decode(encoding, errors_of(encoding))


def encoding_of(body: bytes, charset: str | None) -> tuple[str, bytes]:
    """Return the encoding of ``body``, and the body without its mark (RFC 4627, section 3)."""
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return encoding, body.removeprefix(mark)
    if body[:2] == b"{\0" or body[1:2] == b"\0" != body[:1]:
        return "utf-16-le", body
    if body[:1] == b"\0" != body[1:2]:
        return "utf-16-be", body
    return _fallback(body, charset), body


def _fallback(body: bytes, charset: str | None) -> str:
    """Return UTF-8, or the named single-byte charset of a body that is no UTF-8."""
    if charset is None:
        return "utf-8"
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):  # unknown, or nothing that a codec could be called
        return "utf-8"
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return name if name.startswith(("iso8859", "cp125")) else "utf-8"
    return "utf-8"


def errors_of(encoding: str) -> str:
    """Return how Python handles bytes that are not in ``encoding``.

    In UTF-8 each becomes half a surrogate, which no id may hold.
    """
    return "surrogateescape" if encoding == "utf-8" else "replace"
