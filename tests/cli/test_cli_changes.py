"""``track``, ``recheck`` and ``forget``: what they change, and that it is remembered who did."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.inbound.spool import Spool
from reconciler.store.inbox import Receipt

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Place


@pytest.fixture(autouse=True)
def _called_by_ada(bare: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")


def actions(logged: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    told = [line for line in logged if line["event"] == "operator_action"]
    return [(line["action"], line["by"], line.get("process_id")) for line in told]


def test_track_puts_a_process_on_the_ledger_with_all_that_is_said_of_it(
    place: Place, reconciler: Command
) -> None:
    options = ["--provider", "onfido", "--process-type", "idDocument", "--reference", "order 17"]

    done = reconciler("track", "d1", "p1", *options, "--created-at", "2026-01-01T01:00:00+01:00")

    assert (done.code, done.out) == (0, "")
    assert done.said == ["reconciler: p1 is now on the ledger"]
    assert actions(done.logged) == [("register", "ada", "p1")]
    [registered] = [line for line in done.logged if line["event"] == "process_registered"]
    assert (registered["process_id"], registered["dossier_id"]) == ("p1", "d1")
    assert registered["by"] == "ada"
    shown = reconciler("show", "p1", "--json").json
    assert (shown["dossierId"], shown["provider"]) == ("d1", "onfido")
    assert (shown["processType"], shown["reference"]) == ("idDocument", "order 17")
    assert shown["createdAt"] == "2026-01-01T00:00:00.000Z"
    assert place.timeline("p1") == [("process_registered", {"by": "ada"})]


def test_track_refuses_a_creation_in_the_future(place: Place, reconciler: Command) -> None:
    done = reconciler("track", "d1", "p1", "--created-at", "2100-01-01T00:00:00Z")

    assert (done.code, done.out) == (2, "")
    assert done.said[0].startswith("reconciler: createdAt lies in the future; it is 20")
    assert place.query("SELECT * FROM processes") == []


def test_track_again_is_harmless_and_says_so(place: Place, reconciler: Command) -> None:
    first = reconciler("track", "d1", "p1", "--json")
    before = reconciler("show", "p1", "--json").json

    again = reconciler("track", "d1", "p1", "--json")

    assert (first.json, again.json) == ({"created": 1, "known": 0}, {"created": 0, "known": 1})
    assert again.code == 0
    assert reconciler("show", "p1", "--json").json == before
    assert reconciler("track", "d1", "p1").said == ["reconciler: p1 is already on the ledger"]


def test_track_with_another_dossier_is_1_and_changes_nothing(
    place: Place, reconciler: Command
) -> None:
    reconciler("track", "d1", "p1")

    refused = reconciler("track", "d2", "p1")

    assert (refused.code, refused.out, refused.logged) == (1, "", [])
    assert refused.said == ["reconciler: p1 is known with another dossier id"]
    assert reconciler("show", "p1", "--json").json["dossierId"] == "d1"


def test_without_sudo_the_name_is_that_of_the_user(
    place: Place, reconciler: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_USER")

    done = reconciler("track", "d1", "p1")

    assert actions(done.logged) == [("register", getpass.getuser(), "p1")]


def test_recheck_makes_those_that_are_known_due_now_and_is_3_for_the_others(
    place: Place, reconciler: Command
) -> None:
    for process_id in ("p1", "p2", "p3"):
        reconciler("track", "d1", process_id)

    done = reconciler("recheck", "p1", "nobody", "p3", "p1", "--notify")

    assert (done.code, done.out) == (3, "")
    assert done.said == [
        "reconciler: 2 due now; the running daemon calls within its limits",
        "reconciler: nobody is not on the ledger",
    ]
    assert actions(done.logged) == [("recheck", "ada", "p1"), ("recheck", "ada", "p3")]
    asked = {"action": "recheck", "by": "ada", "verb": "notify"}
    for process_id in ("p1", "p3"):
        assert place.timeline(process_id)[1:] == [("operator_action", asked)]
    assert len(place.timeline("p2")) == 1
    due = place.query("SELECT process_id FROM processes WHERE next_check_at <= scheduled_at")
    assert sorted(due) == [("p1",), ("p3",)]


def test_recheck_tells_a_program_what_is_due_and_what_is_unknown(
    place: Place, reconciler: Command
) -> None:
    reconciler("track", "d1", "p1")

    done = reconciler("recheck", "p1", "nobody", "--json")

    assert (done.code, done.json) == (3, {"due": 1, "unknown": ["nobody"]})


def test_recheck_of_unknown_ones_only_is_3_and_leaves_no_trace(
    place: Place, reconciler: Command
) -> None:
    done = reconciler("recheck", "nobody")

    assert (done.code, done.out, done.logged) == (3, "", [])
    assert done.said == ["reconciler: nobody is not on the ledger"]
    assert place.query("SELECT * FROM timeline") == []


def test_recheck_of_all_overdue_takes_every_page_of_them(place: Place, reconciler: Command) -> None:
    lines = "".join(f"d1,p{number:04}\n" for number in range(1205))
    (place.path / "many.csv").write_text(f"dossierId,processId\n{lines}")
    reconciler("import", "many.csv")
    place.execute("UPDATE processes SET state = 'overdue', lane = 1 WHERE process_id > 'p0001'")

    done = reconciler("recheck", "--all-overdue", "--fetch", "--json")

    assert (done.code, done.json) == (0, {"due": 1203, "unknown": []})
    [line] = done.logged
    assert (line["action"], line["by"], line["verb"]) == ("recheck", "ada", "fetch")
    assert line["processes"] == 1203
    asked = ("operator_action", {"action": "recheck", "by": "ada", "verb": "fetch"})
    assert place.timeline("p0002")[-1] == place.timeline("p1204")[-1] == asked
    assert len(place.timeline("p0001")) == 1


def test_recheck_of_all_overdue_when_there_are_none_is_done(
    place: Place, reconciler: Command
) -> None:
    done = reconciler("recheck", "--all-overdue")

    assert (done.code, done.out) == (0, "")
    assert done.said == ["reconciler: 0 due now; the running daemon calls within its limits"]


def test_forget_leaves_nothing_but_who_forgot_something(place: Place, reconciler: Command) -> None:
    reconciler("track", "d1", "canary-p1", "--reference", "canary-reference")
    reconciler("track", "d1", "p2")

    done = reconciler("forget", "canary-p1")

    assert (done.code, done.out, done.said) == (0, "", ["reconciler: forgotten"])
    assert actions(done.logged) == [("forget", "ada", None)]
    assert place.actions()[-1] == ("forget", "ada", None, {})
    assert place.timeline("canary-p1") == []
    assert reconciler("show", "canary-p1").code == 3
    assert reconciler("show", "p2").code == 0


def test_forget_warns_of_callbacks_that_are_still_to_come_from_the_spool(
    place: Place, reconciler: Command
) -> None:
    reconciler("track", "d1", "p1")
    spool = Spool(place.path / "spool", "dead-daemon")
    spool.put_many([Receipt("r1", 1, "p1", "d1", "accepted", (), b"\0" * 32)])
    spool.close()

    done = reconciler("forget", "p1")

    assert (done.code, done.said[0]) == (0, "reconciler: forgotten")
    assert "warning: 1 callbacks wait in the spool" in done.said[1]


def test_forget_of_an_unknown_process_is_3(place: Place, reconciler: Command) -> None:
    done = reconciler("forget", "nobody")

    assert (done.code, done.out, done.logged) == (3, "", [])
    assert done.said == ["reconciler: nobody is not on the ledger"]


@pytest.mark.parametrize("command", ["show", "recheck", "forget"])
def test_an_id_of_bytes_that_are_not_utf_8_is_unknown(
    place: Place, reconciler: Command, command: str
) -> None:
    done = reconciler(command, os.fsdecode(b"p\xff\x1b[31m"))

    assert (done.code, done.out) == (3, "")
    assert done.said == [r"reconciler: p\udcff\x1b[31m is not on the ledger"]


def test_an_id_of_bytes_that_are_not_utf_8_cannot_be_tracked(place: Place, child: Command) -> None:
    done = child("track", "d1", b"p\xff")

    assert (done.code, done.out) == (2, "")
    assert done.said == ["reconciler: processId must be UTF-8 without control characters"]
