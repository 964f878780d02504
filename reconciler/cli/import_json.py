"""Splits a text into its JSON values: one a line, an array, or one after the other over lines."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

LONGEST_LINE = 1024 * 1024
"""Characters read at once: an array may be one line of any length."""

LONGEST_VALUE = 16 * LONGEST_LINE

_SIGNS = re.compile(r'["\\{}\[\]]')
_BETWEEN = re.compile(r"[\s,\x1e\ufeff]*")
"""Stands between values; U+001E begins each where ``jq --seq`` wrote them."""

_PAGE = {"items", "nextCursor"}
_DECODER = json.JSONDecoder(strict=False)


class Unreadable(str):
    """Why there is no value."""

    __slots__ = ()


NOT_JSON = Unreadable("not JSON in UTF-8")


@dataclass(frozen=True, slots=True)
class Found:
    """A value, or Unreadable, and its lines, from 1."""

    first: int
    last: int
    value: Any
    nth: int = 1
    """Its place among the values that begin on its first line."""


def values(pieces: Iterator[str], number: int) -> Iterator[Found]:
    """Yield the values in lines, or pieces of lines, the first of which has ``number``.

    Arrays are taken apart, and so is a page of ``list --json`` or of the API.
    """
    splitter = _Splitter(number)
    for piece in pieces:
        yield from splitter.read(piece)
    yield from splitter.end()


class _Splitter:
    """Follows brackets and quotes, so that each value is decoded once, when it is whole."""

    def __init__(self, number: int) -> None:
        self._line = number
        self._nth = 0
        self._is_line_start = True
        self._arrays = 0
        self._kept: list[str] = []
        """The text of a value that has not ended yet; the others are about it."""
        self._length = 0
        self._first = number
        self._depth = 0
        self._in_string = False
        self._is_escaped = False
        """Whether the next piece begins with the second character of an escape."""

    def read(self, piece: str) -> Iterator[Found]:
        """Yield the values that end in ``piece``."""
        if self._kept and self._begins_anew(piece):
            yield from self._give_up()
        if not self._kept and self._is_line_start and (whole := _loaded(piece)) is not NOT_JSON:
            yield from self._each(whole, self._line)
        else:
            yield from self._scan(piece)
        self._is_line_start = piece.endswith(("\n", "\r"))
        if self._is_line_start:
            self._line += 1
            self._nth = 0

    def end(self) -> Iterator[Found]:
        """Yield an Unreadable where the text ends too early."""
        if not self._is_line_start:
            self._line += 1
        if self._kept:
            yield from self._give_up()
        elif self._arrays:
            last = max(1, self._line - 1)
            yield Found(last, last, Unreadable("the array does not end; is the file cut off?"))

    def _begins_anew(self, piece: str) -> bool:
        """Tell whether a new value begins where an unfinished one would go on."""
        is_inside = self._depth > 1 and not self._in_string
        if is_inside or not self._is_line_start or not piece.startswith("{"):
            return False
        return isinstance(_loaded(piece.rstrip(", \t\r\n")), dict)

    def _give_up(self) -> Iterator[Found]:
        yield Found(self._first, self._line - 1, NOT_JSON)
        self._kept = []

    def _scan(self, piece: str) -> Iterator[Found]:
        at = 0
        while True:
            if not self._kept:
                at = self._between(piece, at)
                if at == len(piece):
                    return
                if piece[at] != "{":
                    yield from self._each(_loaded(piece[at:].rstrip(", \t\r\n")), self._line)
                    return
                self._first, self._depth, self._length = self._line, 0, 0
                self._in_string = self._is_escaped = False
            end = self._end_of_value(piece, at)
            self._kept.append(piece[at:end])
            self._length += len(piece[at:end])
            if end is None:
                if self._length > LONGEST_VALUE:
                    yield Found(self._first, self._line, Unreadable("too long for one value"))
                    self._kept = []
                return
            text, self._kept = "".join(self._kept), []
            yield from self._each(_decoded(text), self._first)
            at = end

    def _between(self, piece: str, at: int) -> int:
        """Return where the next value begins, going into arrays and out of them."""
        while True:
            found = _BETWEEN.match(piece, at)
            at = found.end() if found else at
            sign = piece[at : at + 1]
            if sign == "[":
                self._arrays += 1
            elif sign == "]" and self._arrays:
                self._arrays -= 1
            else:
                return at
            at += 1

    def _end_of_value(self, piece: str, at: int) -> int | None:
        """Return the index behind the value; None where it goes on in the next piece."""
        at += self._is_escaped
        self._is_escaped = False
        while found := _SIGNS.search(piece, at):
            at = found.end()
            match found[0]:
                case "\\":
                    self._is_escaped = at == len(piece)
                    at += 1
                case '"':
                    self._in_string = not self._in_string
                case _ if self._in_string:
                    pass
                case "{" | "[":
                    self._depth += 1
                case _:
                    self._depth -= 1
                    if self._depth == 0:
                        return at
        return None

    def _each(self, value: Any, first: int) -> Iterator[Found]:
        if isinstance(value, dict) and value.keys() <= _PAGE and "items" in value:
            value = value["items"]
        for each in value if isinstance(value, list) else [value]:
            self._nth += 1
            yield Found(first, self._line, each, self._nth)


def _loaded(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return NOT_JSON


def _decoded(text: str) -> Any:
    """Return the value, with control characters and half surrogates, which are refused later."""
    if (value := _loaded(text)) is not NOT_JSON:
        return value
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return NOT_JSON
