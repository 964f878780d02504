"""Reads registrations for ``import``: JSON values, or CSV by its header."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, TextIO

from reconciler.cli.errors import FAILED, CommandError
from reconciler.cli.import_json import LONGEST_LINE, Found, Unreadable, values
from reconciler.ledger import Registration
from reconciler.operations.json_shapes import DetailJson
from reconciler.operations.registration import MEMBERS, BadRegistrationError, registration_from

_REQUIRED = {"dossierId", "processId"}
_DELIMITERS = ",;\t|"
"""Spreadsheets write semicolons in countries with a decimal comma."""

_SEPARATOR = re.compile(r'"?sep=(.)"?')
"""The first line that Excel writes and reads, and nobody else."""


@dataclass(frozen=True, slots=True)
class By:
    """The person who imports, and the time (UTC milliseconds)."""

    name: str
    now: int


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file: a registration, or why it is none."""

    place: str
    """Its lines, for people."""
    read: Registration | str
    lines: int = 1
    """How many are lost if it is none."""


def read(text: TextIO, name: str, by: By) -> Iterator[Record]:
    """Yield the records of ``text``; CommandError when nothing in it can be read.

    It is CSV when its first line names ``dossierId`` and ``processId``, or when ``name`` ends as
    that of a CSV file does. Blank lines are passed over.
    """
    number, first = _next_line(text, 0)
    delimiters = _DELIMITERS
    if separator := _SEPARATOR.fullmatch(first.strip("\r\n")):
        delimiters = separator[1]
        number, first = _next_line(text, number)
    delimiter = next((each for each in delimiters if {*_header(first, each)} >= _REQUIRED), None)
    if delimiter is not None:
        header = _header(first, delimiter)
        _check(header, name, number)
        yield from _csv(header, delimiter, number, text, by)
    elif re.search(r"\.(csv|tsv)(\.gz)?$", name.lower()) and first:
        problem = "is no header with dossierId and processId"
        raise CommandError(FAILED, f"{name}: line {number}: {problem}")
    else:
        pieces = iter(lambda: text.readline(LONGEST_LINE), "")
        for found in values(chain([first], pieces), number):
            yield _json_record(found, by)


def _next_line(text: TextIO, number: int) -> tuple[int, str]:
    """Return the next line that is not blank, and its number."""
    while line := text.readline(LONGEST_LINE):
        number += 1
        if line.strip():
            return number, line
    return number + 1, ""


def _member(name: str) -> str:
    """Return the member that ``name`` means, however it is spelled: ``Dossier_ID``."""
    return _SPELLINGS.get(_folded(name), name)


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


_OF_EXPORT = tuple(
    name for name in (*DetailJson.__annotations__, "returnedAt") if name not in MEMBERS
)
"""Other members of our own export; the ledger finds them out by itself."""

_SPELLINGS = {_folded(name): name for name in (*MEMBERS, *_OF_EXPORT)}


def _json_record(found: Found, by: By) -> Record:
    if found.first != found.last:
        place = f"lines {found.first}-{found.last}"
    else:
        place = f"line {found.first}" + (f", value {found.nth}" if found.nth > 1 else "")
    if isinstance(found.value, Unreadable):
        return Record(place, str(found.value), 1 + found.last - found.first)
    return Record(place, _registration(found.value, by))


def _registration(value: Any, by: By) -> Registration | str:
    if isinstance(value, dict):
        given = {_member(name): each for name, each in value.items()}
        if len(given) < len(value):
            return "a member is there twice, in two spellings"
        value = {name: each for name, each in given.items() if name not in _OF_EXPORT}
    try:
        return registration_from(value, by=by.name, now=by.now)
    except BadRegistrationError as error:
        return str(error)


def _header(line: str, delimiter: str) -> list[str]:
    """Return the names of the columns, without empty ones at the end."""
    try:
        cells = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []
    return _without_empty_end([_member(cell.strip()) for cell in cells], 0)


def _without_empty_end(cells: list[str], least: int) -> list[str]:
    while len(cells) > least and not cells[-1].strip():
        cells.pop()
    return cells


def _check(header: list[str], name: str, number: int) -> None:
    """Refuse a header with which every line would be wrong."""
    for column in header:
        if column not in MEMBERS and column not in _OF_EXPORT:
            problem = f"unknown column {column!r}; known are {', '.join(MEMBERS)}"
            raise CommandError(FAILED, f"{name}: line {number}: {problem}")
        if header.count(column) > 1:
            raise CommandError(FAILED, f"{name}: line {number}: column {column!r} is there twice")


def _csv(header: list[str], delimiter: str, number: int, text: TextIO, by: By) -> Iterator[Record]:
    records = csv.reader(text, delimiter=delimiter, strict=True)
    while True:
        first = number + records.line_num + 1
        try:
            cells = next(records, None)
            if cells is None:
                return
            read = _of_cells(header, cells, by) if any(map(str.strip, cells)) else None
        except csv.Error as error:
            read = f"not CSV: {error}"
        last = number + records.line_num
        if read is None:
            continue
        place = f"line {first}"
        if last > first:
            place = f"lines {first}-{last} (a quoted cell goes on over them)"
        yield Record(place, read, 1 + last - first)


def _of_cells(header: list[str], cells: list[str], by: By) -> Registration | str:
    cells = _without_empty_end(cells, len(header))
    if len(cells) != len(header):
        return f"{len(cells)} columns, but the header has {len(header)}"
    given = {name: cell.strip() or None for name, cell in zip(header, cells, strict=True)}
    return _registration(given, by)
