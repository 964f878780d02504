"""Reduces an exception in a log line to its class and its place in the code, without its data."""

import re
import sys
from collections.abc import Callable, MutableMapping
from types import TracebackType
from typing import Any

CHATTY = frozenset(
    {"aiohttp", "psycopg", "psycopg_pool", "pydantic", "pydantic_core", "sqlalchemy"}
)
"""Libraries whose messages carry headers, rows or input. Their messages are never shown."""

LONGEST_DETAIL = 200
"""Characters of a redacted message that are shown."""

_QUOTED = re.compile(r"""(['"]).*\1""", re.DOTALL)

MOST_FRAMES = 20
"""The innermost ones; a recursion has a thousand."""


class FailureReducer:
    """A structlog processor: ``exc_info`` becomes ``error``, and at error level ``where``.

    ``error`` is the class, ``cause`` the class of the exception it was raised from, ``detail``
    its redacted message and ``where`` its frames, outermost first, as ``file:line function``.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact

    def __call__(
        self, _logger: object, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Replace ``exc_info``; an event without one stays as it is."""
        if "exc_info" not in event:
            return event
        failure = _exception(event.pop("exc_info"))
        if failure is None:
            return event
        event["error"] = type(failure).__name__
        if failure.__cause__ is not None:
            event["cause"] = type(failure.__cause__).__name__
        if method in {"error", "critical"}:
            detail = self._detail(failure)
            if detail:
                event["detail"] = detail
            event["where"] = _frames(failure.__traceback__)
        return event

    def _detail(self, failure: BaseException) -> str:
        origins = {origin.__module__.partition(".")[0] for origin in type(failure).__mro__}
        if origins & CHATTY:
            return ""
        try:
            text = str(failure)
            if isinstance(failure, ValueError | LookupError):  # these quote the offending value
                text = _QUOTED.sub("'…'", text)
            return self._redact(text)[:LONGEST_DETAIL]
        except Exception:  # noqa: BLE001 - somebody's __str__; a log line must not raise
            return ""


def _exception(info: object) -> BaseException | None:
    """Return the exception that ``exc_info`` stands for: a group's first one, it is the bug."""
    found = info
    if isinstance(info, tuple):
        found = info[1]
    elif info is True:
        found = sys.exc_info()[1]
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found if isinstance(found, BaseException) else None


def _frames(traceback: TracebackType | None) -> list[str]:
    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append(f"{_relative(code.co_filename)}:{traceback.tb_lineno} {code.co_qualname}")
        traceback = traceback.tb_next
    return frames[-MOST_FRAMES:]


def _relative(path: str) -> str:
    roots = [root for root in sys.path if root and path.startswith(f"{root}/")]
    return path[len(max(roots, key=len)) + 1 :] if roots else path
