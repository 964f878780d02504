"""``check-db``: what it says, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.check_db import MOST_SHOWN
from reconciler.store.revision import HEAD

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Place, Terminal


def test_a_sound_store_is_0_and_changes_nothing(place: Place, reconciler: Command) -> None:
    reconciler("track", "d1", "p1")
    before = place.query("SELECT * FROM timeline")

    done = reconciler("check-db")

    assert (done.code, done.out, done.logged) == (0, "", [])
    [said] = done.said
    assert said.startswith("reconciler: nothing is wrong: 1 processes, 0 callbacks, ")
    assert place.query("SELECT * FROM timeline") == before


def test_a_finding_is_1_and_names_the_process_and_what_to_do(
    place: Place, reconciler: Command
) -> None:
    reconciler("track", "d1", "p1")
    reconciler("track", "d1", "p2")
    place.execute("UPDATE processes SET next_check_at = NULL, lane = NULL WHERE process_id = 'p2'")

    done = reconciler("check-db")

    assert done.code == 1
    [line] = done.out.splitlines()
    assert line.startswith("p2: it is open and nobody will ever look at it")
    assert "`reconciler recheck` it" in line
    assert done.said == [
        "reconciler: 1 findings in 2 processes, 0 callbacks, 0 deliveries, 2 timeline"
    ]


def test_what_it_says_to_do_mends_it(place: Place, reconciler: Command) -> None:
    for process_id in ("p1", "p2", "p3"):
        reconciler("track", "d1", process_id)
    place.execute("UPDATE processes SET next_check_at = NULL, lane = NULL WHERE process_id = 'p1'")
    place.execute("UPDATE processes SET lane = 0 WHERE process_id = 'p2'")
    place.execute("DELETE FROM processes WHERE process_id = 'p3'")
    assert len(reconciler("check-db").out.splitlines()) == 3

    reconciler("recheck", "p1", "p2")
    reconciler("forget", "p3")

    assert reconciler("check-db").code == 0


def test_a_program_gets_one_json(place: Place, reconciler: Command) -> None:
    reconciler("track", "d1", "p1")
    sound = reconciler("check-db", "--json")
    place.execute("UPDATE processes SET lane = 1")
    wrong = reconciler("check-db", "--json")

    assert (sound.code, wrong.code) == (0, 1)
    rows = {"processes": 1, "callbacks": 0, "deliveries": 0, "timeline": 1}
    assert sound.json == {"ok": True, "revision": HEAD, "rows": rows, "findings": [], "more": 0}
    assert (wrong.json["ok"], wrong.json["more"]) == (False, 0)
    [found] = wrong.json["findings"]
    assert found.keys() == {"table", "processId", "what", "action"}
    assert (found["table"], found["processId"]) == ("processes", "p1")


def test_of_very_many_findings_the_first_are_told_and_the_others_counted(
    place: Place, reconciler: Command
) -> None:
    lines = "".join(f"d1,p{number:05}\n" for number in range(MOST_SHOWN + 7))
    (place.path / "many.csv").write_text(f"dossierId,processId\n{lines}")
    reconciler("import", "many.csv")
    place.execute("UPDATE processes SET lane = 1")

    told, as_json = reconciler("check-db"), reconciler("check-db", "--json").json

    assert len(told.out.splitlines()) == len(as_json["findings"]) == MOST_SHOWN
    assert told.said[0] == "reconciler: 7 more"
    assert as_json["more"] == 7


def test_ids_in_a_finding_move_no_terminal(place: Place, reconciler: Command) -> None:
    reconciler("track", "d1", "p1")
    place.execute("UPDATE processes SET lane = 1, process_id = 'p' || char(27) || '[31m'")
    assert r"p\x1b[31m: it stands in lane 1" in reconciler("check-db").out


def test_a_person_sees_how_far_it_is(place: Place, terminal: Terminal) -> None:
    code, shown = terminal("check-db")
    assert code == 0
    assert "the rows" in shown
    assert "nothing is wrong" in shown


def test_a_store_that_is_not_there_is_1(bare: Place, reconciler: Command) -> None:
    done = reconciler("check-db")
    assert (done.code, done.out) == (1, "")
    assert "there is no store at" in done.said[0]
    assert not bare.store.exists()
