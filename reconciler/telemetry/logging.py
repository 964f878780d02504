"""Builds the log of one daemon: the logger for its parts, with processors, taps and a writer."""

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, Literal, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

from reconciler.telemetry.event_catalogue import CATALOGUE
from reconciler.telemetry.events import RANK
from reconciler.telemetry.failure import FailureReducer
from reconciler.telemetry.library_logs import LibraryLogs
from reconciler.telemetry.redact import Redactor
from reconciler.telemetry.render import ConsoleLine, json_line, stamp
from reconciler.telemetry.writer import LineWriter

LogFormat = Literal["json", "console", "auto"]

Tap = Callable[[str, str | None, Mapping[str, Any]], None]
"""Gets level, event and fields of each line, before its level decides whether it is written."""


class _GuardedTap:
    """Calls one tap so that it can neither break the log call nor hear its own lines."""

    def __init__(self, tap: Tap, log: FilteringBoundLogger) -> None:
        self._tap = tap
        self._log = log
        self._threads: set[int] = set()
        """Those that are inside the tap now."""
        self._has_failed = False

    def __call__(self, level: str, event: str | None, fields: Mapping[str, Any]) -> None:
        thread = threading.get_ident()
        if thread in self._threads:
            return
        self._threads.add(thread)
        try:
            self._tap(level, event, fields)
        except Exception as error:  # noqa: BLE001 - a bug of the tap's; whoever logs has none
            if not self._has_failed:
                self._has_failed = True
                self._log.error("log_tap_failed", exc_info=error)
        finally:
            self._threads.discard(thread)


class _Sink:
    """The state that all loggers of one log share; structlog wraps it."""

    def __init__(self, writer: LineWriter, threshold: int) -> None:
        self.write = writer.write
        self.threshold = threshold
        self.taps: tuple[_GuardedTap, ...] = ()
        """Those that hear every line."""
        self.taps_of: dict[str | None, tuple[_GuardedTap, ...]] = {}
        """All that hear an event which some of them listen for."""


# The base class is made at run time, so mypy cannot know it.
class _LevelledLogger(structlog.make_filtering_bound_logger("notset")):  # type: ignore[misc]
    """A logger whose level is looked up at each call, so that bound ones follow a change."""

    _logger: _Sink

    def _proxy_to_logger(self, method_name: str, event: str | None = None, **fields: Any) -> Any:
        sink = self._logger
        for tap in sink.taps_of.get(event, sink.taps):
            tap(method_name, event, fields)
        # Here and not in a processor: a line that is not wanted costs no copy of the context.
        if RANK[method_name] >= sink.threshold:
            line: Any = {**self._context, **fields, "event": event or ""}
            for processor in self._processors:
                line = processor(sink, method_name, line)
            sink.write(line)

    def is_enabled_for(self, level: int) -> bool:
        return level >= self._logger.threshold

    def get_effective_level(self) -> int:
        return self._logger.threshold


class LogSystem:
    """One JSON object a line (or a console line) on ``stream``, without secrets.

    ``format`` "auto" means console on a terminal and JSON elsewhere. Standard-library logging
    goes the same way, until ``close``. Nothing here blocks or raises because of what is logged
    or because nobody reads it.
    """

    logger: FilteringBoundLogger
    """For the parts of the daemon: their constructors take it."""

    def __init__(
        self,
        *,
        level: str,
        format: LogFormat,  # noqa: A002 - it is the name of the setting
        stream: TextIO | BinaryIO,
    ) -> None:
        """Start the writing thread. ``stream`` needs a descriptor and is not closed by us."""
        fd = stream.fileno()
        on_terminal = os.isatty(fd)
        colored = on_terminal and not os.environ.get("NO_COLOR")  # https://no-color.org
        self._redactor = Redactor(frozenset(event.name for event in CATALOGUE))
        self._writer = LineWriter(fd, announce=self._announce)
        self._sink = _Sink(self._writer, RANK[level])
        in_json = format == "json" or (format == "auto" and not on_terminal)
        self.logger = structlog.wrap_logger(
            self._sink,
            processors=[
                FailureReducer(self._redactor.text),
                self._redactor,
                stamp,
                json_line if in_json else ConsoleLine(colors=colored),
            ],
            wrapper_class=_LevelledLogger,
            context_class=dict,
        ).bind()
        self._libraries = LibraryLogs(self.logger)
        self.set_level(level)

    def hide(self, values: Iterable[str]) -> None:
        """Mask these secrets wherever they occur from now on (those of four characters up)."""
        self._redactor.hide(values)

    def set_level(self, level: str) -> None:
        """Log ``level`` and above from now on, in loggers that are bound already too."""
        self._sink.threshold = RANK[level]
        self._libraries.show_all(level == "debug")

    def tap(self, tap: Tap, *events: str) -> None:
        """Call ``tap``, too, with every line of ``events`` from now on; with none named, of all.

        It is called in the thread that logs, and must be quick. It may log: the other taps hear
        that line, it does not. If it raises, the log call goes on, and the first failure is logged.
        """
        sink, guarded = self._sink, _GuardedTap(tap, self.logger)
        for event in events or sink.taps_of:
            sink.taps_of[event] = (*sink.taps_of.get(event, sink.taps), guarded)
        if not events:
            sink.taps += (guarded,)

    @property
    def dropped(self) -> int:
        """Lines lost so far because nobody took them."""
        return self._writer.dropped

    def close(self, timeout: float) -> None:
        """Give standard-library logging back and write what is queued, ``timeout`` s at most."""
        self._libraries.close()
        self._writer.close(timeout)

    def _announce(self, lost: int) -> None:
        log = self.logger
        log.warning("log_lines_dropped", lines=lost)
