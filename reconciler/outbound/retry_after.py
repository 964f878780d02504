"""Reads the ``Retry-After`` header (RFC 9110, 10.2.3)."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 3600.0
"""Seconds; a server that asks for more is asked again after an hour."""

_SECONDS = re.compile(r"[+-]?[0-9]+")


def retry_after(header: str | None, now: float) -> float | None:
    """Return the seconds to wait, from 0 to ``LONGEST``; None for no header and for rubbish.

    ``now`` is the time in seconds since the epoch, against which an HTTP date (any of its three
    forms) is read.
    """
    if header is None:
        return None
    text = header.strip()
    if _SECONDS.fullmatch(text):
        # float, not int: int() refuses more than 4,300 digits.
        return min(max(float(text), 0.0), LONGEST)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:  # the asctime form names no zone; it is GMT by definition
        date = date.replace(tzinfo=UTC)
    wait = (date - datetime.fromtimestamp(now, UTC)).total_seconds()
    return min(max(wait, 0.0), LONGEST)
