"""``list``, ``show`` and ``status``: for programs as the admin API, for people to be read."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.admin.build import document
from reconciler.inbound.spool import SUFFIX

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Place, Terminal

MEMBERS = [
    "processId", "dossierId", "provider", "processType", "reference", "state", "status",
    "settledBy", "createdAt", "registeredAt", "callbackAt", "claimedStatus", "settledAt",
    "revision", "nextCheckAt", "notifyAttempts", "fetchAttempts", "lastError", "endedAt",
]  # fmt: skip
STATES = ["waiting", "reported", "overdue", "settled", "gone", "expired"]


@pytest.fixture
def four(place: Place, reconciler: Command) -> Place:
    """A waiting process, a reported one, an overdue one and a settled one; the newest first."""
    for process_id in ("p4-settled", "p3-overdue", "p2-reported", "p1-waiting"):
        reconciler("track", "d1", process_id, "--provider", "onfido")
    now = "(SELECT max(registered_at) FROM processes)"
    place.execute(
        f"UPDATE processes SET state = 'settled', status = 'accepted', settled_by = 'fetch',"
        f" settled_at = {now}, next_check_at = NULL, lane = NULL WHERE process_id = 'p4-settled'"
    )
    place.execute(
        f"UPDATE processes SET state = 'overdue', state_since = {now} - 3720000,"
        f" next_check_at = {now} - 1, last_error = 'http_503' WHERE process_id = 'p3-overdue'"
    )
    place.execute(
        f"UPDATE processes SET state = 'reported', claimed_status = 'rejected',"
        f" callback_at = {now}, state_since = {now} - 5000 WHERE process_id = 'p2-reported'"
    )
    return place


def listed(done: Any) -> list[str]:
    return [item["processId"] for item in done.json["items"]]


def test_list_for_programs_has_the_shape_of_the_api(four: Place, reconciler: Command) -> None:
    done = reconciler("list", "--json")

    assert (done.code, done.err) == (0, "")
    assert list(done.json) == ["items", "nextCursor"]
    assert done.json["nextCursor"] is None
    assert [list(item) for item in done.json["items"]] == [MEMBERS] * 4
    assert listed(done) == ["p1-waiting", "p2-reported", "p3-overdue", "p4-settled"]


def test_list_shows_one_state_or_what_is_overdue(four: Place, reconciler: Command) -> None:
    by_state = {state: listed(reconciler("list", "--state", state, "--json")) for state in STATES}

    assert by_state == {
        "waiting": ["p1-waiting"],
        "reported": ["p2-reported"],
        "overdue": ["p3-overdue"],
        "settled": ["p4-settled"],
        "gone": [],
        "expired": [],
    }
    assert listed(reconciler("list", "--overdue", "--json")) == ["p3-overdue"]
    assert listed(reconciler("list", "--overdue", "--state", "overdue", "--json")) == ["p3-overdue"]


def test_list_overdue_shows_the_oldest_first_on_each_page(four: Place, reconciler: Command) -> None:
    four.execute("UPDATE processes SET state = 'overdue', next_check_at = 1")

    first = reconciler("list", "--overdue", "--limit", "3", "--json").json
    rest = reconciler("list", "--overdue", "--cursor", first["nextCursor"], "--json").json

    shown = [item["processId"] for item in first["items"] + rest["items"]]
    assert shown == ["p4-settled", "p3-overdue", "p2-reported", "p1-waiting"]


def test_list_goes_on_from_a_cursor(four: Place, reconciler: Command) -> None:
    first = reconciler("list", "--limit", "3", "--json")

    rest = reconciler("list", "--cursor", first.json["nextCursor"], "--json")

    assert listed(first) == ["p1-waiting", "p2-reported", "p3-overdue"]
    assert (listed(rest), rest.json["nextCursor"]) == (["p4-settled"], None)


def test_list_for_people_says_what_matters_in_a_line_each(four: Place, reconciler: Command) -> None:
    done = reconciler("list")

    lines = [line.split("  ") for line in done.out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    header = ["process", "dossier", "provider", "state", "status", "registered", "next", "error"]
    assert (done.code, done.err, cells[0]) == (0, "", header)
    assert [row[0] for row in cells[1:]] == [
        "p1-waiting",
        "p2-reported",
        "p3-overdue",
        "p4-settled",
    ]
    assert [row[4] for row in cells[1:]] == ["-", "rejected?", "-", "accepted"]
    assert [row[6].split()[0] for row in cells[1:]] == ["in", "in", "now", "-"]
    assert [row[7] for row in cells[1:]] == ["-", "-", "http_503", "-"]


def test_list_says_when_there_is_more(four: Place, reconciler: Command) -> None:
    done = reconciler("list", "--limit", "2")

    assert len(done.out.splitlines()) == 3
    assert done.said == ["reconciler: there are more than these 2; --limit shows them"]


def test_a_long_id_is_never_cut_or_folded(place: Place, reconciler: Command) -> None:
    long, wide = "p" * 255, "日" * 255
    reconciler("track", "d" * 255, long, "--reference", wide)

    assert long in reconciler("list").out.splitlines()[1]
    assert ["reference       " + wide] == [
        line for line in reconciler("show", long).out.splitlines() if wide in line
    ]


def test_a_long_id_is_not_cut_on_a_narrow_terminal_either(
    place: Place, reconciler: Command, terminal: Terminal
) -> None:
    reconciler("track", "d1", "p" * 200)

    code, shown = terminal("list")

    assert code == 0
    assert "p" * 200 in shown


def test_what_is_not_printable_moves_no_terminal(place: Place, reconciler: Command) -> None:
    evil = "[bold red]x[/] \u202egnp.exe \u2028 \u200b end"
    reconciler("track", "d1", "[red]p1[/]\u202e", "--reference", evil)
    place.execute("UPDATE processes SET last_error = 'a' || char(27) || '[2Jb' || char(10) || 'c'")

    listing, shown = reconciler("list"), reconciler("show", "[red]p1[/]\u202e")

    for done in (listing, shown):
        assert done.out.replace("\n", "").isprintable()
        assert r"a\x1b[2Jb\nc" in done.out
        assert r"[red]p1[/]\u202e" in done.out
    assert r"[bold red]x[/] \u202egnp.exe \u2028 \u200b end" in shown.out
    assert reconciler("list", "--json").json["items"][0]["reference"] == evil


def test_output_that_the_terminal_cannot_write_is_escaped(
    place: Place, reconciler: Command, child: Command
) -> None:
    reconciler("track", "d1", "日本")

    done = child("list", env={"PYTHONIOENCODING": "ascii"})

    assert done.code == 0
    assert r"\u65e5\u672c" in done.out


def test_show_for_programs_is_the_process_with_its_timeline(
    four: Place, reconciler: Command
) -> None:
    reconciler("recheck", "p1-waiting", "--fetch")

    done = reconciler("show", "p1-waiting", "--json")

    assert (done.code, done.err) == (0, "")
    assert list(done.json) == [*MEMBERS, "timeline"]
    assert [entry["event"] for entry in done.json["timeline"]] == [
        "process_registered",
        "operator_action",
    ]
    assert {"at", "event", "action", "by", "verb"} == set(done.json["timeline"][1])


def test_show_for_people_leaves_out_what_is_empty_and_tells_the_gaps(
    four: Place, reconciler: Command
) -> None:
    reconciler("recheck", "p1-waiting")
    place_time = "(SELECT min(at) FROM timeline WHERE process_id = 'p1-waiting')"
    four.execute(
        f"UPDATE timeline SET at = {place_time} + 3723000 WHERE process_id = 'p1-waiting'"
        " AND event = 'operator_action'"
    )

    done = reconciler("show", "p1-waiting")

    fields, _, timeline = done.out.partition("\n\n")
    told = dict(line.split(maxsplit=1) for line in fields.splitlines())
    assert "settledAt" not in told
    assert (told["processId"], told["state"], told["provider"]) == (
        "p1-waiting",
        "waiting",
        "onfido",
    )
    assert told["registeredAt"].endswith("ago")
    first, second = timeline.splitlines()
    assert first.split()[2:4] == ["process_registered", "by=" + first.split("by=")[1]]
    assert second.split()[2:6] == ["+1h", "2m", "operator_action", "action=recheck"]


def test_show_of_an_unknown_process_is_3(place: Place, reconciler: Command) -> None:
    for options in ((), ("--json",)):
        done = reconciler("show", "nobody", *options)
        assert (done.code, done.out) == (3, "")
        assert done.said == ["reconciler: nobody is not on the ledger"]


def test_status_for_programs_has_the_shape_of_the_api(four: Place, reconciler: Command) -> None:
    done = reconciler("status", "--json")

    members = document()["components"]["schemas"]["StatusJson"]["properties"]
    assert (done.code, done.err) == (0, "")
    assert list(done.json) == list(members)
    assert done.json["states"] == {
        "waiting": 1,
        "reported": 1,
        "overdue": 1,
        "settled": 1,
        "gone": 0,
        "expired": 0,
    }
    assert done.json["oldestOverdueSeconds"] >= 3720
    assert (done.json["breaker"], done.json["instances"]) == (None, [])


def test_status_for_people_names_every_state_and_the_oldest(
    four: Place, reconciler: Command
) -> None:
    done = reconciler("status")

    lines = [line.split() for line in done.out.splitlines() if line]
    assert (done.code, done.err) == (0, "")
    assert [line[:2] for line in lines[:6]] == [
        ["waiting", "1"],
        ["reported", "1"],
        ["overdue", "1"],
        ["settled", "1"],
        ["gone", "0"],
        ["expired", "0"],
    ]
    assert lines[2][2:] == ["oldest", "1h", "2m"]
    assert lines[-1] == ["daemons", "none", "is", "running"]


def test_status_without_a_daemon_counts_what_waits_in_the_spool(
    four: Place, reconciler: Command
) -> None:
    spool = four.path / "spool"
    spool.mkdir()
    (spool / f"left{SUFFIX}").write_bytes(b"one\ntwo\n")
    assert reconciler("status", "--json").json["spooled"] == 2
    assert reconciler("status").out.splitlines()[-2].split() == ["spooled", "2"]
    (spool / f"left{SUFFIX}").unlink()
    spool.rmdir()
    spool.write_text("no directory")
    done = reconciler("status", "--json")
    assert (done.code, done.json["spooled"]) == (0, 0)
    assert done.said == [
        f"reconciler: warning: the spool {spool} cannot be counted: Not a directory"
    ]


def test_status_watch_looks_again_until_ctrl_c(four: Place) -> None:
    command = [sys.executable, "-m", "reconciler", "status", "--watch"]
    both = [
        subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for options in ((), ("--json",))
    ]
    try:
        for started in both:
            assert started.stdout is not None
            looks = 0
            while looks < 2:
                line = started.stdout.readline()
                assert line
                looks += b"waiting" in line
            started.send_signal(signal.SIGINT)
            _, err = started.communicate(timeout=60)
            assert (started.returncode, err) == (0, b"")
    finally:
        for started in both:
            started.kill()


def test_a_reader_that_has_seen_enough_is_no_error(place: Place, reconciler: Command) -> None:
    rows = "".join(f'{{"dossierId": "d1", "processId": "p{n:05}"}}\n' for n in range(3000))
    (place.path / "many").write_text(rows)
    reconciler("import", "many")
    commands = ["list --limit 3000", "list --limit 3000 --json", "status --watch", "--help"]
    pipe = f"{sys.executable} -m reconciler {{}} | head -n 1; exit ${{{{PIPESTATUS[0]}}}}"
    readers = [
        subprocess.Popen(
            ["bash", "-c", pipe.format(command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for command in commands
    ]

    for started in readers:
        out, err = started.communicate(timeout=60)
        assert (started.returncode, err) == (0, b"")
        assert out.count(b"\n") == 1
