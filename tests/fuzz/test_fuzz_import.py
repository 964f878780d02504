"""Files for ``import``: however they are laid out, damaged or cut off."""

from __future__ import annotations

import csv
import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

from reconciler.cli.errors import CommandError
from reconciler.cli.import_formats import By, Record, read
from reconciler.cli.import_source import opened
from reconciler.ledger import Registration
from reconciler.ledger.identifiers import flaw_of_id
from tests.fuzz.texts import ANY_TEXT, GOOD_TEXT, JSON_VALUES, variants

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fuzz.conftest import Fuzz

NOW = 1_800_000_000_000
MEMBERS = ["dossierId", "processId", "provider", "processType", "reference", "createdAt"]
TIMES = st.datetimes().map(lambda at: f"{at.isoformat()}Z")

TRIMMED = GOOD_TEXT.map(str.strip).filter(lambda text: text not in ("", ".", ".."))
"""A cell of a table has no blank around its value."""

REGISTRATIONS = st.fixed_dictionaries(
    {"dossierId": TRIMMED, "processId": TRIMMED},
    optional={"provider": TRIMMED, "reference": TRIMMED, "processType": st.none() | TRIMMED},
)
ODD_RECORDS = (
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(MEMBERS, JSON_VALUES | ANY_TEXT | GOOD_TEXT | TIMES)
        | {"Dossier_ID": GOOD_TEXT, "status": JSON_VALUES, "x": JSON_VALUES},
    )
    | REGISTRATIONS
    | JSON_VALUES
)

ENCODINGS = st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])


def as_json(records: list[Any], layout: str) -> str:
    match layout:
        case "array":
            return json.dumps(records)
        case "indented":
            return json.dumps(records, indent=2)
        case "page":
            return json.dumps({"items": records, "nextCursor": None})
        case "lines":
            return "\n".join(map(json.dumps, records))
        case "raw":
            return "\r\n".join(json.dumps(each, ensure_ascii=False) for each in records) + "\r\n"
        case "values":
            return "\n".join(json.dumps(each, indent=1) for each in records)
        case _:  # as `jq --seq` does
            return "".join(f"\x1e{json.dumps(each, indent=1)}\n" for each in records)


JSON_LAYOUTS = st.sampled_from(["array", "indented", "page", "lines", "raw", "values", "seq"])


def as_csv(records: list[Any], delimiter: str, ending: str) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, MEMBERS, delimiter=delimiter, lineterminator=ending)
    writer.writeheader()
    for each in records:
        writer.writerow({name: each.get(name) or "" for name in MEMBERS})
    return text.getvalue()


def records_of(path: Path, data: bytes) -> list[Record] | str:
    """All records of a file; or what a person is told where none can be read."""
    path.write_bytes(data)
    found: list[Record] = []
    try:
        with opened(str(path)) as source:
            found += read(source.text, source.name, By("me", NOW))
    except CommandError as refusal:
        return str(refusal)
    for record in found:
        assert record.lines >= 1
        assert record.place.startswith("line")
        if isinstance(record.read, Registration):
            assert flaw_of_id(record.read.process_id) is None
            assert flaw_of_id(record.read.dossier_id) is None
            assert record.read.created_at is None or record.read.created_at <= NOW + 300_000
        else:
            assert record.read
    return found


def registered(records: list[Any]) -> list[Registration]:
    return [
        Registration(
            each["processId"],
            each["dossierId"],
            provider=each.get("provider"),
            process_type=each.get("processType"),
            reference=each.get("reference"),
            by="me",
        )
        for each in records
    ]


def packed(text: str, encoding: str, *, is_packed: bool) -> bytes:
    data = text.encode(encoding)
    return gzip.compress(data, 1) if is_packed else data


@pytest.mark.share(2)
def test_json_says_the_same_in_every_layout(fuzz: Fuzz, tmp_path: Path) -> None:
    def check(records: list[Any], layout: str, encoding: str, is_packed: bool) -> None:
        data = packed(as_json(records, layout), encoding, is_packed=is_packed)
        found = records_of(tmp_path / "file", data)
        assert not isinstance(found, str), found
        assert [each.read for each in found] == registered(records)

    fuzz(
        check,
        records=st.lists(REGISTRATIONS, min_size=1, max_size=4),
        layout=JSON_LAYOUTS,
        encoding=ENCODINGS,
        is_packed=st.booleans(),
    )


@pytest.mark.share(2)
def test_a_table_says_the_same_with_every_delimiter(fuzz: Fuzz, tmp_path: Path) -> None:
    def check(
        records: list[Any], delimiter: str, ending: str, encoding: str, is_packed: bool
    ) -> None:
        text = as_csv(records, delimiter, ending)
        if delimiter in "#:":
            text = f"sep={delimiter}{ending}{text}"
        found = records_of(tmp_path / "file", packed(text, encoding, is_packed=is_packed))
        assert not isinstance(found, str), found
        assert [each.read for each in found] == registered(records)

    fuzz(
        check,
        records=st.lists(REGISTRATIONS, min_size=1, max_size=4),
        delimiter=st.sampled_from(",;\t|#:"),
        ending=st.sampled_from(["\n", "\r\n"]),
        encoding=ENCODINGS,
        is_packed=st.booleans(),
    )


@st.composite
def odd_files(draw: st.DrawFn) -> bytes:
    """Return a file in which anything may be wrong."""
    records = draw(st.lists(ODD_RECORDS, max_size=4))
    if draw(st.booleans()):
        text = as_json(records, draw(JSON_LAYOUTS))
    else:
        rows = [each for each in records if isinstance(each, dict)]
        separator = draw(st.sampled_from([",", ";", "x", " "]))
        text = as_csv(rows, separator, draw(st.sampled_from(["\n", "\r"])))
        begin = st.sampled_from(["", "", "sep=x\n", "sep=\0\n", 'sep="\n', "sep= \n", "sep=\r\n"])
        text = draw(begin) + text
    data = text.encode(draw(ENCODINGS), "surrogatepass")
    return gzip.compress(data, 1) if draw(st.booleans()) else data


@pytest.mark.share(6, each=8)
def test_whatever_a_file_holds_it_is_read_skipped_or_refused(fuzz: Fuzz, tmp_path: Path) -> None:
    def check(files: list[bytes], name: str, is_packed: bool) -> int:
        for data in files:
            records_of(tmp_path / name, gzip.compress(data, 1) if is_packed else data)
        return len(files)

    fuzz(
        check,
        files=variants(odd_files() | st.binary(max_size=100)),
        name=st.sampled_from(["file", "file.csv", "file.json.gz"]),
        is_packed=st.booleans(),
    )
