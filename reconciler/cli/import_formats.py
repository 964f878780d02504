"""Reads a file for ``import``: NDJSON, or CSV by its header, in UTF-8."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import orjson

from reconciler.cli.errors import FAILED, CommandError
from reconciler.ledger import Registration
from reconciler.operations.registration import MEMBERS, BadRegistrationError, registration_from

_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_REQUIRED = {"dossierId", "processId"}
_DELIMITERS = ",;\t"
"""Spreadsheets write semicolons in countries with a decimal comma."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file: a registration, or why it is none."""

    first: int
    """Its line, from 1; ``last`` is another one where a quoted cell spans several."""
    last: int
    read: Registration | str

    @property
    def place(self) -> str:
        """Its lines, for people."""
        if self.first == self.last:
            return f"line {self.first}"
        return f"lines {self.first}-{self.last} (a quoted cell goes on over them)"


def read(source: BinaryIO, name: str, by: str) -> Iterator[Record]:
    """Yield the records of ``source``; CommandError when nothing in it can be read.

    It is CSV when its first line names ``dossierId`` and ``processId``, or when ``name`` ends in
    ``.csv``. Blank lines are passed over.
    """
    first = source.readline()
    if first.startswith(_UTF_16):
        raise CommandError(FAILED, f"{name} is UTF-16; only UTF-8 is read")
    first = first.removeprefix(_BOM)
    number = 1
    while first and not first.strip():
        first = source.readline()
        number += 1
    delimiter = next((each for each in _DELIMITERS if {*_header(first, each)} >= _REQUIRED), None)
    if delimiter is not None:
        header = _header(first, delimiter)
        _check(header, name, number)
        yield from _csv(header, delimiter, number, source, by)
    elif name.lower().endswith(".csv") and first:
        problem = "is no header with dossierId and processId"
        raise CommandError(FAILED, f"{name}: line {number}: {problem}")
    else:
        yield from _ndjson(first, number, source, by)


def _header(line: bytes, delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader([line.decode("utf-8", "replace")], delimiter=delimiter), [])
    except csv.Error:
        return []
    return [cell.strip() for cell in cells]


def _check(header: list[str], name: str, number: int) -> None:
    """Refuse a header with which every line would be wrong."""
    for column in header:
        if column not in MEMBERS:
            problem = f"unknown column {column!r}; known are {', '.join(MEMBERS)}"
            raise CommandError(FAILED, f"{name}: line {number}: {problem}")
        if header.count(column) > 1:
            raise CommandError(FAILED, f"{name}: line {number}: column {column!r} is there twice")


def _ndjson(first: bytes, number: int, source: BinaryIO, by: str) -> Iterator[Record]:
    line = first
    while line:
        if line.strip():
            try:
                yield Record(number, number, registration_from(orjson.loads(line), by=by))
            except orjson.JSONDecodeError:
                yield Record(number, number, "not JSON in UTF-8")
            except BadRegistrationError as error:
                yield Record(number, number, str(error))
        line = source.readline()
        number += 1


def _csv(
    header: list[str], delimiter: str, number: int, source: BinaryIO, by: str
) -> Iterator[Record]:
    # A cell with half a surrogate pair is refused; the lines around it are read.
    lines: Iterable[str] = (line.decode("utf-8", "surrogateescape") for line in source)
    records = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        first = number + records.line_num + 1
        try:
            cells = next(records, None)
            if cells is None:
                return
            read = _registration(header, cells, by) if any(map(str.strip, cells)) else None
        except csv.Error as error:
            read = f"not CSV: {error}"
        if read is not None:
            yield Record(first, number + records.line_num, read)


def _registration(header: list[str], cells: list[str], by: str) -> Registration | str:
    if len(cells) != len(header):
        return f"{len(cells)} columns, but the header has {len(header)}"
    given = {name: cell.strip() or None for name, cell in zip(header, cells, strict=True)}
    try:
        return registration_from(given, by=by)
    except BadRegistrationError as error:
        return str(error)
