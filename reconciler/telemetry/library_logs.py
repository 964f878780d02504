"""Logs the records of the standard library's logging, which libraries use, as events of ours."""

import logging
import re
from collections.abc import Mapping

from structlog.typing import FilteringBoundLogger

_LEVELS: dict[str | None, int] = {
    None: logging.WARNING,
    "aiosqlite": logging.WARNING,
    "alembic": logging.WARNING,
    "apscheduler": logging.WARNING,
    "psycopg": logging.ERROR,
    "sqlalchemy.engine": logging.WARNING,
}
"""The lowest levels of some loggers. Below these they write two lines a run, or statements with
their parameters; psycopg's warnings name the user of a lost connection, for which we log an error
of our own."""

_EXCEPTION_IN_REPR = re.compile(r"exception=(\w+)\(.*")


class LibraryHandler(logging.Handler):
    """Logs each record as the event ``library``, at its own level.

    Of a message only the first line is kept, and of an exception in it only the class: asyncio
    puts the repr of a failed task on the second line, and aiohttp's exceptions have headers in
    theirs.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Log ``record``; one that cannot be formatted is logged unformatted."""
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        self._log.log(
            level,
            "library",
            logger=record.name,
            message=_first_line(record),
            exc_info=record.exc_info,
        )


class LibraryLogs:
    """The handler on the root logger, and the levels, until ``close`` puts all back."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._handler = LibraryHandler(log)
        self._levels = {logging.getLogger(name): logging.getLogger(name).level for name in _LEVELS}
        for name, level in _LEVELS.items():
            logging.getLogger(name).setLevel(level)
        logging.getLogger().addHandler(self._handler)
        logging.captureWarnings(True)

    def show_all(self, wanted: bool) -> None:
        """Let records below a warning through, too, or no longer."""
        logging.getLogger().setLevel(logging.DEBUG if wanted else logging.WARNING)

    def close(self) -> None:
        """Leave logging as it was found."""
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(self._handler)
        for logger, level in self._levels.items():
            logger.setLevel(level)


def _first_line(record: logging.LogRecord) -> str:
    args = record.args
    try:
        text = str(_argument(record.msg))
        if isinstance(args, Mapping):
            text %= {key: _argument(value) for key, value in args.items()}
        elif args:
            text %= tuple(map(_argument, args))
    except Exception:  # noqa: BLE001 - wrong arguments, or somebody's __str__; must not raise
        text = f"[unreadable message of {record.module}:{record.lineno}]"
    return _EXCEPTION_IN_REPR.sub(r"exception=\1", text.partition("\n")[0])


def _argument(value: object) -> object:
    return type(value).__name__ if isinstance(value, BaseException) else value
