"""Wanted members are read without doubt, whatever the rest of the document looks like."""

import json
import string
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.runtime.json_encoding import charset_of
from reconciler.runtime.tolerant_json import (
    LONGEST_VALUE,
    MOST_OTHERS,
    UNREADABLE,
    MemberReader,
    NotAnObjectError,
    NotReadableError,
    loads,
    read_members,
)

WANTED = frozenset({"dossierId", "processId", "status"})
GOOD = {"dossierId": "d-1", "processId": "p-1", "status": "accepted"}
PLAIN = json.dumps(GOOD).encode()


def damaged(member: bytes) -> bytes:
    """A callback with one more member, as it is on the wire."""
    return b'{"dossierId": "d-1", ' + member + b', "processId": "p-1", "status": "accepted"}'


@pytest.mark.parametrize(
    "body",
    [
        PLAIN,
        b"\xef\xbb\xbf" + PLAIN,
        PLAIN.decode().encode("utf-16"),
        PLAIN.decode().encode("utf-16-le"),
        PLAIN.decode().encode("utf-16-be"),
        PLAIN.decode().encode("utf-32"),
        b"\r\n\t \x00" + PLAIN,
        PLAIN + b"\n\x00 rubbish",
        PLAIN[:-1] + b",}",
        damaged(b'"name": "J\xf6rg"'),
        damaged(b'"name": "a\nb\tc\x00d"'),
        damaged(b'"score": NaN'),
        damaged(b'"score": -Infinity'),
        damaged(b'"score": undefined'),
        damaged(b'"score": 0x1F'),
        damaged(b'"score": ' + b"9" * 5_000),
        damaged(b'"score": [NaN, {"status": "rejected", "processId": NaN}]'),
        damaged(b'"half": "\\ud800"'),
        damaged(b'"bad escape": "\\x41"'),
        damaged(b'"\xf6": 1'),
        damaged(b'"deep": ' + b"[" * 5_000 + b"]" * 5_000),
        damaged(b'"date": new Date("2020,1")'),
        PLAIN[:-1] + b', "status": "accepted"}',
        b'{"dossier\\u0049d": "d-1", "processId": "p-1", "status": "acc\\u0065pted"}',
    ],
)
def test_a_true_document_is_read_whatever_is_wrong_where_nobody_looks(body: bytes) -> None:
    assert read_members(body, WANTED).values == GOOD


def test_the_charset_of_the_content_type_counts_for_what_is_not_utf_8() -> None:
    body = json.dumps({**GOOD, "status": "J\xf6rg"}, ensure_ascii=False).encode("latin-1")
    assert read_members(body, WANTED, "ISO-8859-1").values["status"] == "J\xf6rg"
    # UTF-8 that is valid is UTF-8, whatever the header says.
    body = json.dumps({**GOOD, "status": "J\xf6rg"}, ensure_ascii=False).encode()
    assert read_members(body, WANTED, "iso-8859-1").values["status"] == "J\xf6rg"
    for nonsense in ("no-such-charset", "\x00", "\ud800"):
        assert read_members(body + b"\x00", WANTED, nonsense).values["status"] == "J\xf6rg"


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        (None, None),
        ("application/json", None),
        ("application/json; charset=utf-8", "utf-8"),
        ('text/plain;CHARSET = "Latin-1" ; q=1', "Latin-1"),
        ("application/json; xcharset=a; charset=b", "b"),
        ("application/json; charset=", None),
        ("application/json;\udcff *", None),
    ],
)
def test_the_charset_is_found_in_any_content_type(
    content_type: str | None, charset: str | None
) -> None:
    assert charset_of(content_type) == charset


def test_a_byte_that_nobody_can_decode_shows_in_the_value_that_has_it() -> None:
    body = PLAIN.replace(b"accepted", b"acc\xffpted")
    value = read_members(body, WANTED).values["status"]
    with pytest.raises(UnicodeEncodeError):
        value.encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        PLAIN[:-1],
        PLAIN[:-12],
        b"rubbish",
        b"{dossierId: 1}",
        PLAIN[:-1] + b', "status": "rejected"}',
        PLAIN[:-1] + b', "st\\u0061tus": "rejected"}',
        PLAIN.replace(b'"accepted"', b'"acc"epted"'),
        PLAIN.replace(b'"accepted"', b'"acc\\qepted"') + b"\xff",
        b'{"status" "accepted"}',
    ],
)
def test_what_leaves_a_doubt_is_refused(body: bytes) -> None:
    with pytest.raises(NotReadableError):
        read_members(body, WANTED)


@pytest.mark.parametrize("body", [b"[]", b'["status"]', b'"status"', b"1", b" \n[1]", b"null"])
def test_what_is_no_object_is_told_apart(body: bytes) -> None:
    with pytest.raises(NotAnObjectError):
        read_members(body, WANTED)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (b"null", None), (b"true", True), (b"17", 17), (b"1.5", 1.5), (b"{}", UNREADABLE),
        (b"[1]", UNREADABLE), (b"accepted", UNREADABLE), (b'""', ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("also", [b"", b', "x": NaN'])
def test_other_values_are_told_as_they_are(value: bytes, read: Any, also: bytes) -> None:
    assert read_members(b'{"status": ' + value + also + b"}", WANTED).values == {"status": read}


def test_the_names_of_others_are_kept_and_bounded() -> None:
    many = {f"m{n:03}": 1 for n in range(500)}
    for body in (
        json.dumps({**GOOD, **many}).encode(),
        b"\xef\xbb\xbf" + json.dumps(many).encode(),
    ):
        others = read_members(body, WANTED).others
        assert len(others) == MOST_OTHERS
        assert set(others) <= many.keys()


def test_a_picture_of_many_megabytes_costs_no_memory() -> None:
    reader = MemberReader(WANTED)
    reader.feed(b'{"dossierId": "d-1", "picture": "')
    for _ in range(256):
        reader.feed(b"A" * 65_536)
        assert len(reader._text) <= 2 * 65_536
    reader.feed(b'", "processId": "p-1", "status": "accepted"}')
    assert reader.close().values == GOOD


def test_a_wanted_value_that_is_too_long_is_not_kept() -> None:
    reader = MemberReader(WANTED)
    reader.feed(b'{"status": "')
    for _ in range(64):
        reader.feed(b"A" * 65_536)
    assert sum(map(len, reader._kept)) <= LONGEST_VALUE + 65_536
    reader.feed(b'"}')
    assert reader.close().values == {"status": UNREADABLE}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    others=st.dictionaries(st.text(string.ascii_lowercase), _JSON, max_size=5),
    status=st.text(min_size=1, max_size=40).filter(lambda text: "\ufffd" not in text),
    size=st.integers(1, 64),
    ascii_only=st.booleans(),
)
def test_the_reader_reads_any_json_in_any_pieces(
    others: dict[str, Any], status: str, size: int, ascii_only: bool
) -> None:
    text = json.dumps({**others, **GOOD, "status": status}, ensure_ascii=ascii_only)
    body = text.encode("utf-8", "surrogatepass")
    reader = MemberReader(WANTED)
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])
    values = reader.close().values
    if "\\ud" not in text:
        assert values["status"] == status
    assert {name: values[name] for name in ("dossierId", "processId")} == {
        "dossierId": "d-1",
        "processId": "p-1",
    }


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    for charset in (None, "latin-1", "utf-16"):
        try:
            members = read_members(body, WANTED, charset)
        except NotReadableError:
            continue
        assert members.values.keys() <= WANTED
    with suppress(NotReadableError):
        loads(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf[{"a": NaN}]', None),
        (b'[{"a": "x\ny"}]', [{"a": "x\ny"}]),
        ('[{"a": "ö"}]'.encode("utf-16"), [{"a": "ö"}]),
        (b'{"a": ' + b"9" * 5_000 + b"}", None),
    ],
)
def test_whole_documents_are_read_tolerantly_too(body: bytes, value: Any) -> None:
    read = loads(body)
    assert read is not None
    if value is not None:
        assert read == value


def test_a_whole_document_of_too_many_brackets_is_refused() -> None:
    with pytest.raises(NotReadableError):
        loads(b"[" * 100_000 + b"NaN")
