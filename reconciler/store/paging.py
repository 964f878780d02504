"""Cursors of pages: a position in an order, as opaque text."""

from base64 import urlsafe_b64decode, urlsafe_b64encode


class BadCursorError(ValueError):
    """The cursor is not one of ours."""


def cursor_of(number: int, key: str) -> str:
    """Return the cursor of the page after (``number``, ``key``)."""
    return urlsafe_b64encode(f"{number} {key}".encode()).decode()


def position_in(cursor: str) -> tuple[int, str]:
    """Return the position that ``cursor`` stands for. Raises BadCursorError."""
    try:
        number, key = urlsafe_b64decode(cursor.encode()).decode().split(" ", 1)
        place = int(number), key
    except ValueError as error:
        raise BadCursorError("cursor: not one that this API has given out") from error
    if abs(place[0]) >= 2**63 or "\0" in place[1]:
        raise BadCursorError("cursor: not one that this API has given out")
    return place
