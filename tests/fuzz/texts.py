"""Strategies that all the tests here share: texts, JSON values, and damage."""

import json
from typing import Any

from hypothesis import strategies as st

from reconciler.ledger.identifiers import LONGEST

CHARSETS = (
    "utf-8",
    "UTF8",
    "latin-1",
    "iso-8859-15",
    "cp1252",
    "utf-16",
    "ascii",
    "base64",
    "rot13",
)
"""Names that a Content-Type may have, and codecs of Python's that are no charset."""

SIGNS = b"{}[]\",:\\/ \r\n\t\x00\xef\xbb\xbf\xff\xfeeE+-.0 nulltrue;=&%?#@<>()*'|~^$!_"

_DAMAGE = st.tuples(
    st.integers(0, 10_000),
    st.integers(0, 12),
    st.just(b"") | st.sampled_from(SIGNS).map(lambda sign: bytes([sign])) | st.binary(max_size=6),
)

ANY_TEXT = st.text(st.characters(codec=None), max_size=40)
"""Half surrogates too, as Python reads bytes that are not UTF-8."""

GOOD_TEXT = st.one_of(
    st.text("abcXYZ0189-_.~/ {}\"'\\%ßéπ漢🙂\ufeff\u2028", min_size=1, max_size=12),
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=LONGEST),
).filter(lambda text: text not in (".", "..") and "\ufffd" not in text)
"""Texts that an id or a status may be."""

JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def written(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> str:
    """Return a JSON text for one of ``values``, in one of the ways to write it."""
    return json.dumps(
        draw(values),
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, None, 1, "\t"])),
        separators=draw(st.sampled_from([None, (",", ":"), (" ,\n", "\t: ")])),
    )


@st.composite
def variants(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> list[bytes]:
    """Return bytes of ``whole``, and seven variants that are damaged more and more.

    It takes much longer to make a document than to damage it.
    """
    data = draw(whole)
    found = [data]
    for where, length, piece in draw(st.lists(_DAMAGE, min_size=7, max_size=7)):
        begin = where % (len(data) + 1)
        data = data[:begin] + piece + data[begin + length :]
        found.append(data)
    return found


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes], most: int = 4) -> bytes:
    """Return bytes of ``whole`` with a few pieces cut, repeated, replaced or put in."""
    data = draw(whole)
    for _ in range(draw(st.integers(0, most))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.integers(0, 12)))
        piece = draw(
            st.sampled_from([b"", data[begin:end] * 2])
            | st.sampled_from(SIGNS).map(lambda sign: bytes([sign]))
            | st.binary(max_size=6)
        )
        data = data[:begin] + piece + data[end:]
    return data


def in_pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut ``data`` into pieces of these sizes; the rest is the last one."""
    pieces, at = [], 0
    for size in sizes:
        if at < len(data):
            pieces.append(data[at : at + size])
            at += size
    return [*pieces, data[at:]] if at < len(data) else pieces


SIZES = st.lists(st.integers(1, 200), max_size=12)
