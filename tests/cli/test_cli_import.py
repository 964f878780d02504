"""``import``: what is read, what is skipped and said, and what stops it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Command, Place, Ran, Terminal

    Import = Callable[..., Ran]

GOOD = '{"dossierId": "d1", "processId": "%s"}\n'


@pytest.fixture
def load(place: Place, reconciler: Command) -> Import:
    """Import the given bytes from a file."""

    def load_it(content: bytes | str, *options: str, name: str = "file") -> Ran:
        data = content.encode() if isinstance(content, str) else content
        (place.path / name).write_bytes(data)
        return reconciler("import", name, *options)

    return load_it


def ids(place: Place) -> list[str]:
    return [row[0] for row in place.query("SELECT process_id FROM processes ORDER BY process_id")]


def test_ndjson_is_read_with_everything_that_a_line_says(
    place: Place, reconciler: Command, load: Import
) -> None:
    done = load(
        '{"dossierId": "d1", "processId": "p1", "provider": "onfido", "processType": "idDocument",'
        ' "reference": "Müller", "createdAt": "2026-01-01T00:00:00Z"}\n'
        '{"processId": "p2", "dossierId": "d2", "provider": null}'
    )

    assert (done.code, done.out, done.said) == (0, "", ["reconciler: 2 new, 0 known"])
    shown = reconciler("show", "p1", "--json").json
    assert [shown[name] for name in ("dossierId", "provider", "processType", "reference")] == [
        "d1",
        "onfido",
        "idDocument",
        "Müller",
    ]
    assert shown["createdAt"] == "2026-01-01T00:00:00.000Z"
    assert ids(place) == ["p1", "p2"]


def test_it_is_idempotent_and_counts_for_programs(load: Import) -> None:
    lines = "".join(GOOD % name for name in ("p1", "p2"))

    first = load(lines, "--json")
    again = load(lines + GOOD % "p3", "--json")

    assert first.json == {"created": 2, "known": 0, "skipped": 0}
    assert again.json == {"created": 1, "known": 2, "skipped": 0}


def test_it_leaves_one_entry_and_one_event_with_the_name_of_the_user(
    place: Place, load: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")

    done = load(GOOD % "p1")

    [line] = done.logged
    assert (line["event"], line["action"], line["by"]) == ("operator_action", "import", "ada")
    assert line["processes"] == 1
    assert place.actions() == [("import", "ada", None, {"processes": 1})]
    assert place.timeline("p1") == [("process_registered", {"by": "ada"})]


def test_bad_lines_are_named_by_number_and_skipped_in_the_order_of_the_file(
    place: Place, reconciler: Command, load: Import
) -> None:
    reconciler("track", "d9", "p9")

    done = load(
        GOOD % "p1"
        + "nonsense\n"
        + "\n"
        + '{"dossierId": "d1", "processId": "p9"}\n'
        + '{"dossierId": "d1"}\n'
        + "[1]\n"
        + '{"dossierId": "d1", "processId": "p1", "surname": "Canary"}\n'
        + '{"dossierId": "d1", "processId": "p2", "createdAt": "2026-01-01T00:00:00"}\n'
        + GOOD % "p3"
    )

    assert done.code == 1
    assert done.said == [
        "reconciler: line 2: not JSON in UTF-8; skipped",
        "reconciler: line 4: p9 is known with another dossierId; skipped",
        "reconciler: line 5: processId is missing; skipped",
        "reconciler: line 6: must be an object with dossierId and processId; skipped",
        "reconciler: line 7: unknown member 'surname'; known are dossierId, processId, provider, "
        "processType, reference, createdAt; skipped",
        "reconciler: line 8: createdAt has no time zone; write one, such as 2026-01-31T12:00:00Z; "
        "skipped",
        "reconciler: 2 new, 0 known, 6 bad lines skipped",
    ]
    assert ids(place) == ["p1", "p3", "p9"]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("nonsense\n", "not JSON in UTF-8"),
        ('{"dossierId": "d2", "processId": "p1"}\n', "p1 is known with another dossierId"),
    ],
)
def test_strict_keeps_what_stands_before_the_first_bad_line_and_nothing_after_it(
    place: Place, load: Import, bad: str, problem: str
) -> None:
    done = load(GOOD % "p1" + GOOD % "p2" + bad + GOOD % "p3" + "more nonsense\n", "--strict")

    assert (done.code, done.out) == (1, "")
    assert done.said == [
        f"reconciler: line 3: {problem}; stopped (2 new and 0 known before it are kept)"
    ]
    assert ids(place) == ["p1", "p2"]
    assert [line["action"] for line in done.logged] == ["import"]
    assert [action for action, *_ in place.actions()] == ["import"]


def test_csv_is_read_by_its_header_in_any_order_of_columns(
    place: Place, reconciler: Command, load: Import
) -> None:
    done = load(
        "reference, processId ,dossierId,createdAt\n"
        '"one, two ""three""",p1,d1,2026-01-01T00:00:00Z\n'
        ",p2,d2,\n"
        "\n"
        "  x  ,p3,d3,\n"
    )

    assert (done.code, done.said) == (0, ["reconciler: 3 new, 0 known"])
    assert reconciler("show", "p1", "--json").json["reference"] == 'one, two "three"'
    assert reconciler("show", "p2", "--json").json["reference"] is None
    assert reconciler("show", "p3", "--json").json["reference"] == "x"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_of_a_spreadsheet_is_read(
    place: Place, load: Import, delimiter: str, end: str, mark: str
) -> None:
    rows = ["dossierId,processId,provider", "d1,p1,onfido", 'd2,"p2",', "d3,p3,readid"]

    done = load(mark + "".join(row.replace(",", delimiter) + end for row in rows))

    assert (done.code, done.said) == (0, ["reconciler: 3 new, 0 known"])
    assert ids(place) == ["p1", "p2", "p3"]


def test_ndjson_of_another_system_is_read(place: Place, load: Import) -> None:
    done = load("\ufeff\r\n" + (GOOD % "p1").replace("\n", "\r\n") + (GOOD % "p2").rstrip())

    assert (done.code, done.said) == (0, ["reconciler: 2 new, 0 known"])


def test_a_cell_over_several_lines_is_one_record_and_never_becomes_another(
    place: Place, load: Import
) -> None:
    done = load(
        "dossierId,processId,reference\n"
        "d1,p1,good\n"
        'd2,p2,"a note\n'
        'd3,phantom,end of the note"\n'
        'd4,"p4\n'
        '",trimmed\n'
        "d5,p5,good\n"
    )

    assert done.said == [
        "reconciler: lines 3-4 (a quoted cell goes on over them): reference must be UTF-8 without "
        "control characters; skipped",
        "reconciler: 3 new, 0 known, 2 bad lines skipped",
    ]
    assert ids(place) == ["p1", "p4", "p5"]


def test_bad_csv_lines_are_named_and_skipped(place: Place, load: Import) -> None:
    done = load(
        b'dossierId,processId\nd1,p1,surplus\nd2\nd3,\xff\nd4,"p4"x\n,p5\nd6,p6\nd7,"p7\nd8,p8\n'
    )

    assert done.code == 1
    assert done.said == [
        "reconciler: line 2: 3 columns, but the header has 2; skipped",
        "reconciler: line 3: 1 columns, but the header has 2; skipped",
        "reconciler: line 4: processId must be UTF-8 without control characters; skipped",
        "reconciler: line 5: not CSV: ',' expected after '\"'; skipped",
        "reconciler: line 6: dossierId is missing; skipped",
        "reconciler: lines 8-9 (a quoted cell goes on over them): not CSV: unexpected end of data; "
        "skipped",
        "reconciler: 1 new, 0 known, 7 bad lines skipped",
    ]
    assert ids(place) == ["p6"]


@pytest.mark.parametrize(
    ("content", "name", "problem"),
    [
        ("dossierId,processId,name\nd,p,n\n", "f", "line 1: unknown column 'name'; known are "),
        ("dossierId,processId,processId\n", "f", "line 1: column 'processId' is there twice"),
        ("\ndossier,process\nd,p\n", "f.CSV", "line 2: is no header with dossierId and processId"),
    ],
)
def test_a_file_whose_every_line_would_be_bad_is_refused_at_once(
    place: Place, load: Import, content: bytes | str, name: str, problem: str
) -> None:
    done = load(content, name=name)

    assert (done.code, done.out, len(done.said)) == (1, "", 1)
    assert problem in done.said[0]
    assert done.logged == []
    assert ids(place) == []


def test_a_first_line_that_is_nothing_is_a_bad_line_like_any_other(
    place: Place, load: Import
) -> None:
    done = load("dossier process\n" + GOOD % "p1")

    assert done.said[0] == "reconciler: line 1: not JSON in UTF-8; skipped"
    assert ids(place) == ["p1"]


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff", "dossierId,processId\n", "[]", "[\n]\n"])
@pytest.mark.parametrize("options", [(), ("--skip-bad",)])
def test_an_empty_file_is_1_because_nothing_was_taken(
    load: Import, content: str, options: tuple[str, ...]
) -> None:
    done = load(content, "--json", *options)

    assert (done.code, done.json) == (1, {"created": 0, "known": 0, "skipped": 0})
    assert done.said == ["reconciler: nothing was taken from file"]


def test_a_file_that_cannot_be_read_is_1_in_one_line(place: Place, reconciler: Command) -> None:
    missing = reconciler("import", "nowhere.csv")
    directory = reconciler("import", ".")

    assert (missing.code, missing.out) == (1, "")
    assert missing.said == ["reconciler: cannot read nowhere.csv: No such file or directory"]
    assert (directory.code, len(directory.said)) == (1, 1)


def test_it_reads_stdin(place: Place, child: Command) -> None:
    done = child("import", "-", "--json", stdin=(GOOD % "p1" + GOOD % "p2").encode())

    assert (done.code, done.json) == (0, {"created": 2, "known": 0, "skipped": 0})
    assert ids(place) == ["p1", "p2"]


def test_many_lines_with_bad_ones_among_them_are_all_accounted_for(
    place: Place, load: Import
) -> None:
    lines = [GOOD % f"p{n:04}" if n % 7 else "bad\n" for n in range(1, 1001)]

    done = load("".join(lines), "--json")

    assert done.json == {"created": 858, "known": 0, "skipped": 142}
    assert done.said[:2] == [
        "reconciler: line 7: not JSON in UTF-8; skipped",
        "reconciler: line 14: not JSON in UTF-8; skipped",
    ]
    assert done.said[19:] == [
        "reconciler: line 140: not JSON in UTF-8; skipped",
        "reconciler: and 122 more like these, skipped",
    ]
    assert done.code == 1
    assert len(ids(place)) == 858


def test_the_progress_bar_is_for_terminals_only(
    place: Place, reconciler: Command, terminal: Terminal
) -> None:
    lines = "".join(GOOD % f"p{number}" for number in range(1000))
    (place.path / "[many].ndjson").write_text(lines)

    code, shown = terminal("import", "[many].ndjson")
    again = reconciler("import", "[many].ndjson")

    assert code == 0
    assert "[many].ndjson" in shown
    assert "100%" in shown
    assert "1000 new, 0 known" in shown
    assert "%" not in again.err
    assert again.said == ["reconciler: 0 new, 1000 known"]


def test_ctrl_c_ends_it_at_once_and_what_was_read_is_kept_and_remembered(place: Place) -> None:
    started = subprocess.Popen(
        [sys.executable, "-m", "reconciler", "import", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ,
    )
    assert started.stdin is not None
    started.stdin.write("".join(GOOD % f"p{number}" for number in range(250)).encode())
    started.stdin.flush()
    try:
        wait_for_rows(place, 200)
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=60)
    finally:
        started.kill()

    assert started.returncode == 130
    assert b"Traceback" not in err
    assert len(ids(place)) == 200
    assert b'"operator_action"' in err
    assert [action for action, *_ in place.actions()] == ["import"]


def wait_for_rows(place: Place, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(ids(place)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
