"""Many lines of one event at once, as a busy outbox writes them.

Line by line, most of the time goes into looking for secrets in each value. Here a column is looked
through as one text; where that finds anything at all, the lines are made one by one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from structlog.typing import FilteringBoundLogger

from reconciler.telemetry.redact import Redactor
from reconciler.telemetry.render import LONGEST_LINE, json_line, stamp

Columns = Mapping[str, Sequence[Any]]
"""The values of each field, one for each line."""

Row = dict[str, Any]


def info_each(log: FilteringBoundLogger, event: str, columns: Columns) -> None:
    """Log ``event`` once for each row of ``columns``, as ``log.info`` would one by one."""
    if hasattr(log, "info_each"):
        log.info_each(event, columns)
        return
    for row in rows_of(columns):  # a logger of structlog's own
        log.info(event, **row)


def rows_of(columns: Columns) -> list[Row]:
    """Return the fields of each line."""
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


class JsonLines:
    """Makes the lines of a batch that has nothing to hide."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(
        self, level: str, context: Row, columns: Columns, rows: Sequence[Row]
    ) -> list[bytes] | None:
        """Return the line of each of ``rows``, which stand in ``columns`` too; ``context`` has
        the event and what all have in common. None where a value cannot be shown as it is."""
        if not columns.keys().isdisjoint({"timestamp", "level", *context}):
            return None
        if not self._redactor.passes(columns):
            return None
        head = json_line(None, level, stamp(None, level, self._redactor(None, level, context)))
        head = head.removesuffix(b"}\n") + b","
        try:
            lines = [head + orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)[1:] for row in rows]
        except TypeError:  # an integer that is too large
            return None
        return lines if max(map(len, lines)) <= LONGEST_LINE else None
