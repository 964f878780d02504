"""``import`` of what other programs write: jq, spreadsheets, databases, gzip, our own export."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_cli_import import GOOD, ids, load

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Place
    from tests.cli.test_cli_import import Import

__all__ = ["load"]

SEVERAL = [{"dossierId": "d1", "processId": name} for name in ("p1", "p2", "p3")]
PRETTY = [json.dumps(each, indent=2) for each in SEVERAL]
FLAT = [json.dumps(each) for each in SEVERAL]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("\n".join(PRETTY), id="jq"),
        pytest.param("".join(FLAT), id="jq -j"),
        pytest.param("".join(f"\x1e{each}\n" for each in PRETTY), id="jq --seq"),
        pytest.param(json.dumps(SEVERAL), id="array"),
        pytest.param(json.dumps(SEVERAL, indent=4), id="pretty array"),
        pytest.param("[\n" + ",\n".join(FLAT) + "\n]\n", id="array of lines"),
        pytest.param(json.dumps(SEVERAL[:2]) + "\n" + PRETTY[2], id="array and value"),
        pytest.param(json.dumps({"items": SEVERAL, "nextCursor": None}), id="page"),
        pytest.param(json.dumps({"items": SEVERAL, "nextCursor": "x"}, indent=2), id="list --json"),
        pytest.param(json.dumps(SEVERAL).encode("utf-16"), id="UTF-16"),
        pytest.param("\n".join(FLAT).encode("utf-16-le"), id="UTF-16 without a mark"),
        pytest.param("\ufeff" + "\r\n".join(PRETTY), id="mark"),
        pytest.param("\r".join(FLAT), id="carriage returns"),
        pytest.param('{"dossier_id":"d1","process_id":"p1"}\n' + "\n".join(FLAT[1:]), id="snake"),
    ],
)
@pytest.mark.parametrize("is_packed", [False, True])
def test_json_is_read_however_it_is_laid_out(
    place: Place, load: Import, content: str | bytes, is_packed: bool
) -> None:
    data = content.encode() if isinstance(content, str) else content

    done = load(gzip.compress(data) if is_packed else data)

    assert (done.code, done.said) == (0, ["reconciler: 3 new, 0 known"])
    assert ids(place) == ["p1", "p2", "p3"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("dossier_id,process_id\nd1,p1\nd2,p2\n", id="snake_case"),
        pytest.param("DOSSIERID,ProcessId,PROVIDER\nd1,p1,\nd2,p2,x\n", id="letter case"),
        pytest.param("Dossier ID;Process-Id\nd1;p1\nd2;p2\n", id="words"),
        pytest.param("sep=;\r\ndossierId;processId\r\nd1;p1\r\nd2;p2\r\n", id="sep"),
        pytest.param('"sep=|"\ndossierId|processId\nd1|p1\nd2|p2\n', id="sep in quotes"),
        pytest.param("sep=#\ndossierId#processId\nd1#p1\nd2#p2\n", id="another sep"),
        pytest.param("dossierId,processId,,\nd1,p1,,\nd2,p2,,\n,,,\n", id="empty columns"),
        pytest.param("dossierId,processId\nd1,p1,,\nd2,p2,\n", id="empty cells"),
        pytest.param("dossierId\tprocessId\r\nd1\tp1\r\nd2\tp2\r\n".encode("utf-16"), id="Unicode"),
        pytest.param("dossierId;processId\rd1;p1\rd2;p2\r", id="Macintosh"),
        pytest.param(gzip.compress(b"dossierId,processId\nd1,p1\nd2,p2\n"), id="gzip"),
    ],
)
def test_csv_is_read_on_stdin_whatever_wrote_it(
    place: Place, child: Command, content: str | bytes
) -> None:
    data = content.encode() if isinstance(content, str) else content

    done = child("import", "-", stdin=data)

    assert (done.code, done.said) == (0, ["reconciler: 2 new, 0 known"])
    assert ids(place) == ["p1", "p2"]


def test_our_own_export_is_read_and_what_only_the_ledger_knows_is_passed_over(
    place: Place, reconciler: Command, load: Import
) -> None:
    reconciler("track", "d1", "p1", "--provider", "onfido", "--reference", "r1")
    place.execute(
        "UPDATE processes SET state = 'settled', status = 'accepted', settled_by = 'fetch',"
        " settled_at = registered_at, ended_at = registered_at, next_check_at = NULL"
    )
    exported = reconciler("export").out
    place.execute("DELETE FROM processes")

    done = load(exported)

    assert (done.code, done.said) == (0, ["reconciler: 1 new, 0 known"])
    shown = reconciler("show", "p1", "--json").json
    assert [shown[name] for name in ("provider", "reference", "state", "status")] == [
        "onfido",
        "r1",
        "waiting",
        None,
    ]


def test_export_tells_of_all_that_ended_if_it_is_asked(place: Place, reconciler: Command) -> None:
    reconciler("track", "d1", "p1")
    reconciler("track", "d1", "p2")
    place.execute(
        "UPDATE processes SET state = 'gone', next_check_at = NULL, ended_at = registered_at,"
        " state_since = registered_at WHERE process_id = 'p1'"
    )

    def exported(*options: str) -> list[str]:
        done = reconciler("export", *options)
        assert done.code == 0
        return [json.loads(line)["processId"] for line in done.out.splitlines()]

    assert exported() == []
    assert exported("--ended-since", "2020-01-01T00:00:00Z") == ["p1"]
    assert exported("--ended-since", "2100-01-01t00:00:00z") == []
    both = reconciler("export", "--since", "2020-01-01Z", "--ended-since", "2020-01-01Z")
    assert (both.code, both.out) == (2, "")


def test_an_import_refuses_a_creation_in_the_future(load: Import) -> None:
    done = load('{"dossierId": "d1", "processId": "p1", "createdAt": "2100-01-01T00:00:00Z"}')

    assert done.code == 1
    assert done.said[0].startswith("reconciler: line 1: createdAt lies in the future; ")


def test_what_list_and_show_print_is_read_too(
    place: Place, reconciler: Command, load: Import
) -> None:
    for name in ("p1", "p2"):
        reconciler("track", "d1", name)
    listed, shown = reconciler("list", "--json").out, reconciler("show", "p1", "--json").out

    assert load(listed + shown, "--json").json == {"created": 0, "known": 3, "skipped": 0}


def test_a_bad_value_among_values_over_lines_is_named_by_its_lines(
    place: Place, load: Import
) -> None:
    done = load(
        '{\n  "dossierId": "d1",\n  "processId": "p1"\n}\n'
        '{\n  "dossierId": "d1"\n}\n'
        '[{"dossierId": "d1", "processId": "p2"}, 3]\n'
        '{"dossierId": "d1", "proces\n'
        '{"dossierId": "d1", "processId": "p3"}\n'
        '{"dossierId": "d1", "dossier_id": "d2", "processId": "p4"}\n'
    )

    assert done.code == 1
    assert done.said == [
        "reconciler: lines 5-7: processId is missing; skipped",
        "reconciler: line 8, value 2: must be an object with dossierId and processId; skipped",
        "reconciler: line 9: not JSON in UTF-8; skipped",
        "reconciler: line 11: a member is there twice, in two spellings; skipped",
        "reconciler: 3 new, 0 known, 4 bad lines skipped",
    ]
    assert ids(place) == ["p1", "p2", "p3"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (json.dumps(SEVERAL, indent=1)[:-1], "the array does not end; is the file cut off?"),
        ("\n".join(PRETTY)[:-3], "not JSON in UTF-8"),
    ],
)
def test_a_file_that_is_cut_off_is_told(
    place: Place, load: Import, content: str, problem: str
) -> None:
    done = load(content)

    assert done.code == 1
    assert problem in done.said[0]
    assert ids(place)[:2] == ["p1", "p2"]


def test_a_damaged_gzip_file_keeps_what_was_read_and_says_so(place: Place, load: Import) -> None:
    whole = gzip.compress("".join(GOOD % f"p{n:05}" for n in range(5000)).encode())

    done = load(whole[: len(whole) // 2])

    assert (done.code, len(done.said)) == (1, 1)
    assert done.said[0].startswith("reconciler: file is damaged: ")
    assert 0 < len(ids(place)) < 5000


def test_skip_bad_is_0_if_something_was_taken(load: Import) -> None:
    mixed = load(GOOD % "p1" + "nonsense\n", "--skip-bad", "--json")
    bad = load("nonsense\n", "--skip-bad", "--json")
    contradiction = load(GOOD % "p1", "--skip-bad", "--strict")

    assert (mixed.code, mixed.json) == (0, {"created": 1, "known": 0, "skipped": 1})
    assert (bad.code, bad.json) == (1, {"created": 0, "known": 0, "skipped": 1})
    assert (contradiction.code, contradiction.out) == (2, "")


def test_a_line_longer_than_is_read_at_once_is_an_array_like_any_other(
    place: Place, load: Import
) -> None:
    many = [
        {"dossierId": "d1", "processId": f"p{n:05}", "reference": 'a "\\\\" é' * 8}
        for n in range(12_000)
    ]

    done = load(json.dumps(many), "--json")

    assert (done.code, done.json) == (0, {"created": 12_000, "known": 0, "skipped": 0})
