"""Prints JSON for programs and aligned text for people; stdout carries data only."""

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

NOTHING = "-"
"""Stands for a missing value, so that each line of a table has the same number of columns."""

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def print_json(data: Any, *, on_one_line: bool = False) -> bool:
    """Print one JSON document; False when the reader has gone."""
    option = orjson.OPT_APPEND_NEWLINE | (0 if on_one_line else orjson.OPT_INDENT_2)
    return write_out(orjson.dumps(data, option=option))


def print_lines(lines: Iterable[str]) -> bool:
    """Print lines of text; False when the reader has gone."""
    text = "".join(f"{line}\n" for line in lines)
    return write_out(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace"))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print ``rows`` under ``columns``."""
    print_lines(aligned([columns, *rows]))


def write_out(data: bytes) -> bool:
    """Write to stdout; False when the reader has gone (``| head``), which is no error."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())  # or the interpreter would flush again at exit
        os.close(null)
        return False
    return True


def aligned(rows: Iterable[Sequence[Any]]) -> list[str]:
    """Return a line for each row, with the columns under each other.

    Nothing is cut or folded, however long: an id that is broken cannot be searched or copied.
    """
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]


def plain(value: Any) -> str:
    """Return a value as text that is safe on a terminal: unprintable characters are escaped."""
    text = NOTHING if value is None else str(value)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def duration(seconds: float) -> str:
    """Return a length of time for people, in its two largest units."""
    rest = round(seconds)
    if rest < 1:
        return f"{round(seconds * 1000)}ms" if seconds else "0s"
    parts: list[str] = []
    for unit, length in _UNITS:
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join(part for part in parts[:2] if part[0] != "0")


def when(at: str | None, now: int) -> str:
    """Return a time of the API relative to ``now`` (UTC milliseconds): "5m 2s ago"."""
    if at is None:
        return NOTHING
    seconds = now / 1000 - datetime.fromisoformat(at).timestamp()
    return f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"


def moment(at: str) -> str:
    """Return a time of the API for people, in UTC."""
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def progress_bar() -> Progress:
    """Return a progress bar on stderr, shown only to people."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
