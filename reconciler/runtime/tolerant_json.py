"""Reads a few members of a JSON object out of a document that may be damaged elsewhere.

Senders put byte order marks, Latin-1 bytes, ``NaN`` and raw line feeds into members that nobody
needs, and pictures of many megabytes beside a status. The strict parser is asked first. Where it
fails, only the wanted members are read: they must be well-formed and unambiguous, and the rest is
skipped without being kept.
"""

import codecs
import json
import re
from collections.abc import Collection
from typing import Any, Final

import orjson

from reconciler.runtime.json_encoding import encoding_of, errors_of, text_of

LONGEST_NAME = 255
"""Characters of a member's name that are kept."""

LONGEST_VALUE = 16 * 1024
"""Characters of a wanted value; a longer one counts as present and not readable."""

MOST_OTHERS = 32
"""Names of other members that are kept."""

_SCALARS = (str, int, float, type(None))
_BLANK = re.compile(r"[\s\x00-\x20\ufeff]*")
_STRING_END = re.compile(r'["\\]')
_STRUCTURE = re.compile(r'["{}\[\],]')


class NotReadableError(ValueError):
    """The document is no JSON object of which the wanted members can be read without doubt."""


class NotAnObjectError(NotReadableError):
    """The document begins with something else than an object."""


class _Unreadable:
    """Stands for a wanted value that is there and is no text, number, switch or null."""

    def __repr__(self) -> str:
        return "UNREADABLE"


UNREADABLE: Final = _Unreadable()


class Members:
    """The wanted members of one object, and the names of some others."""

    def __init__(self, values: dict[str, Any], others: Collection[str]) -> None:
        self.values = values
        """Texts, numbers, switches and None by name; ``UNREADABLE`` for anything else."""
        self.others = tuple(sorted(others)[:MOST_OTHERS])


def read_members(
    body: bytes,
    wanted: frozenset[str],
    charset: str | None = None,
    *,
    optional: frozenset[str] = frozenset(),
) -> Members:
    """Return the ``wanted`` members of the object in ``body``. Raises NotReadableError.

    ``charset`` is that of the Content-Type, for a body that is not UTF-8.
    ``optional``: those that may be damaged.
    """
    if _is_plain(body, wanted):
        try:
            parsed = orjson.loads(body)
        except orjson.JSONDecodeError:
            parsed = None
        if isinstance(parsed, dict):
            values, others = {}, []
            for name, value in parsed.items():
                if name in wanted:
                    values[name] = _plain(value)
                else:
                    others.append(_shortened(name))
            return Members(values, others)
    reader = MemberReader(wanted, optional)
    reader.feed(body, charset)
    return reader.close()


def loads(body: bytes, charset: str | None = None) -> Any:
    """Return the JSON document in ``body``, allowing marks, control characters and bad bytes.

    A byte that cannot be decoded becomes half a surrogate, which no id may hold. Raises
    NotReadableError.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    decoder = json.JSONDecoder(strict=False, parse_int=_number, parse_float=_number)
    text = text_of(body, charset)
    try:
        value, _ = decoder.raw_decode(text, _after_blank(text, 0))
    except (ValueError, RecursionError):
        raise NotReadableError("not JSON") from None
    return value


class MemberReader:
    """Reads wanted members from a document that comes in pieces, in bounded memory."""

    def __init__(self, wanted: frozenset[str], optional: frozenset[str] = frozenset()) -> None:
        """``optional``: those of ``wanted`` that may be damaged; then they are ``UNREADABLE``."""
        self._wanted = wanted
        self._optional = optional
        self._values: dict[str, Any] = {}
        self._others: set[str] = set()
        self._decoder: codecs.IncrementalDecoder | None = None
        self._head = b""
        self._text = ""
        self._at = 0
        self._step = self._begin
        self._name: str | None = None
        self._depth = 0
        self._kept: list[str] = []
        self._kept_length = 0
        self._is_done = False

    @property
    def is_done(self) -> bool:
        """Whether the object has ended. Nothing behind it is looked at."""
        return self._is_done

    def feed(self, piece: bytes, charset: str | None = None) -> None:
        """Read ``piece``. Raises NotReadableError as soon as the document cannot be used."""
        if self._is_done:
            return
        if self._decoder is None:
            self._head += piece
            if len(self._head) < 4:
                return
            piece = self._decide(charset)
        assert self._decoder is not None
        self._go_on(self._decoder.decode(piece))

    def close(self) -> Members:
        """Return what was read. Raises NotReadableError where the object has not ended."""
        if self._decoder is None:
            self._go_on(text_of(self._head, None))
        if not self._is_done:
            raise NotReadableError("the object does not end")
        return Members(self._values, self._others)

    def _decide(self, charset: str | None) -> bytes:
        encoding, rest = encoding_of(self._head, charset)
        self._decoder = codecs.getincrementaldecoder(encoding)(errors_of(encoding))
        self._head = b""
        return rest

    def _go_on(self, text: str) -> None:
        self._text = self._text[self._at :] + text
        self._at = 0
        while not self._is_done and self._step():
            pass
        if self._is_done:
            self._text = ""

    # Each step returns False where it needs more text.

    def _begin(self) -> bool:
        if not self._skip_blank():
            return False
        if self._text[self._at] != "{":
            raise NotAnObjectError("not an object")
        self._at += 1
        self._step = self._member
        return True

    def _member(self) -> bool:
        if not self._skip_blank():
            return False
        sign = self._text[self._at]
        if sign == "}":
            self._is_done = True
            return True
        if sign == ",":
            self._at += 1
            return True
        if sign != '"':
            raise NotReadableError("a member has no name in quotes")
        self._at += 1
        self._start_keeping()
        self._step = self._in_name
        return True

    def _in_name(self) -> bool:
        if not self._to_the_end_of_string(keep=True):
            return False
        self._name = self._kept_text()
        self._step = self._colon
        return True

    def _colon(self) -> bool:
        if not self._skip_blank():
            return False
        if self._text[self._at] != ":":
            raise NotReadableError("a member has no value")
        self._at += 1
        self._step = self._value
        return True

    def _value(self) -> bool:
        if not self._skip_blank():
            return False
        is_wanted = self._name in self._wanted
        if not is_wanted and len(self._others) < MOST_OTHERS:
            self._others.add(_shortened(self._name or ""))
        if self._text[self._at] == '"':
            self._at += 1
            self._start_keeping()
            self._step = self._wanted_string if is_wanted else self._other_string
            return True
        self._depth = 0
        self._start_keeping()
        self._step = self._other
        return True

    def _wanted_string(self) -> bool:
        if not self._to_the_end_of_string(keep=True):
            return False
        text: str | None = None
        try:
            text = self._kept_text() if self._kept_length <= LONGEST_VALUE else None
        except NotReadableError:
            if self._name not in self._optional:
                raise
        self._put(UNREADABLE if text is None or "\ufffd" in text else text)
        self._step = self._behind_value
        return True

    def _other_string(self) -> bool:
        if not self._to_the_end_of_string(keep=False):
            return False
        self._step = self._other  # what follows up to the comma is skipped too
        return True

    def _other(self) -> bool:
        """Skip a value that is no string, or rubbish, up to the comma or the end of the object."""
        while True:
            found = _STRUCTURE.search(self._text, self._at)
            end = found.start() if found else len(self._text)
            if not self._depth:
                self._keep(self._text[self._at : end])
            self._at = end
            if found is None:
                return False
            sign = found[0]
            if not self._depth and sign in ",}":
                if self._name in self._wanted:
                    self._put_scalar()
                self._step = self._member
                return True
            if sign == '"':
                self._keep('"')
                self._at += 1
                self._step = self._inner_string
                return True
            if sign != ",":
                self._keep(sign)
                self._depth += 1 if sign in "{[" else -1
                if self._depth < 0:
                    raise NotReadableError("brackets do not match")
            self._at += 1

    def _inner_string(self) -> bool:
        if not self._to_the_end_of_string(keep=False):
            return False
        self._step = self._other
        return True

    def _behind_value(self) -> bool:
        if not self._skip_blank():
            return False
        if self._text[self._at] in ",}":
            self._step = self._member
        elif self._name in self._optional:
            self._values[self._name] = UNREADABLE
            self._step = self._rubbish
        else:
            raise NotReadableError("rubbish behind a wanted value")
        return True

    def _rubbish(self) -> bool:
        """Skip up to the comma or the end of the object."""
        self._depth = 0
        self._name = None
        self._step = self._other
        return True

    def _skip_blank(self) -> bool:
        self._at = _after_blank(self._text, self._at)
        return self._at < len(self._text)

    def _to_the_end_of_string(self, *, keep: bool) -> bool:
        """Go behind the closing quote; False where it has not come yet."""
        while True:
            found = _STRING_END.search(self._text, self._at)
            if found is None:
                if keep:
                    self._keep(self._text[self._at :])
                self._at = len(self._text)
                return False
            end = found.start()
            if found[0] == '"':
                if keep:
                    self._keep(self._text[self._at : end])
                self._at = end + 1
                return True
            if end + 1 >= len(self._text):
                if keep:
                    self._keep(self._text[self._at : end])
                self._at = end
                return False
            if keep:
                self._keep(self._text[self._at : end + 2])
            self._at = end + 2

    def _start_keeping(self) -> None:
        self._kept = []
        self._kept_length = 0

    def _keep(self, text: str) -> None:
        if self._kept_length <= LONGEST_VALUE:
            self._kept.append(text)
        self._kept_length += len(text)

    def _kept_text(self) -> str:
        try:
            text: str = json.loads(f'"{"".join(self._kept)}"', strict=False)
        except ValueError:
            if self._step == self._in_name:
                return ""  # a name that nobody can read is not wanted
            raise NotReadableError("a wanted value has a bad escape") from None
        return text

    def _put_scalar(self) -> None:
        text = "".join(self._kept).strip()
        try:
            self._put(_plain(json.loads(text, parse_int=_number)))
        except (ValueError, RecursionError):
            self._put(UNREADABLE)

    def _put(self, value: Any) -> None:
        assert self._name is not None
        if self._name in self._values and self._values[self._name] != value:
            if self._name not in self._optional:
                raise NotReadableError("a wanted member comes twice with two values")
            value = UNREADABLE
        self._values[self._name] = value


def _is_plain(body: bytes, wanted: frozenset[str]) -> bool:
    """Tell whether the strict parser can be trusted: no wanted member can be there twice."""
    if b"\\" in body and b"\\u" in body:  # a search for one byte is much faster
        return False
    for name in wanted:  # noqa: SIM110 - twice as fast, for every callback
        if body.count(b'"%b"' % name.encode()) > 1:
            return False
    return True


def _plain(value: Any) -> Any:
    return value if isinstance(value, _SCALARS) else UNREADABLE


def _number(digits: str) -> int | float:
    """Return a number of any size, where the machine's own would refuse too many digits."""
    return float(digits) if len(digits) > 300 or not digits.lstrip("-").isdigit() else int(digits)


def _shortened(name: str) -> str:
    return name[:LONGEST_NAME].encode("utf-8", "replace").decode()


def _after_blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at
