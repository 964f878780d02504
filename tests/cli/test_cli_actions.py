"""``actions``: who did what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Place


@pytest.fixture(autouse=True)
def _called_by_ada(bare: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")


def test_every_change_by_a_command_is_an_action(place: Place, reconciler: Command) -> None:
    (place.path / "file").write_text('{"dossierId": "d1", "processId": "p2"}')
    for arguments in (
        ("track", "d1", "p1"),
        ("import", "file"),
        ("recheck", "p1", "--fetch"),
        ("recheck", "--all-overdue"),
        ("redeliver", "--dead"),
        ("backup", "copy.db"),
        ("forget", "p1"),
    ):
        assert reconciler(*arguments).code == 0

    done = reconciler("actions", "--json")

    assert done.code == 0
    items = done.json["items"]
    assert [(each["action"], each["processId"], each["detail"]) for each in items[::-1]] == [
        ("register", None, None),
        ("import", None, "1 processes"),
        ("recheck", None, "fetch"),
        ("recheck", None, "0 processes"),
        ("redeliver", None, "0 deliveries"),
        ("backup", None, None),
        ("forget", None, None),
    ]
    assert {each["by"] for each in items} == {"ada"}
    assert items[0].keys() == {"at", "by", "action", "processId", "detail"}


def test_looking_and_what_failed_are_no_actions(place: Place, reconciler: Command) -> None:
    for arguments in (
        ("list",), ("show", "p1"), ("recheck", "p1"), ("forget", "p1"), ("redeliver", "m1"),
    ):  # fmt: skip
        reconciler(*arguments)

    assert reconciler("actions", "--json").json["items"] == []


def test_people_get_a_table_that_begins_where_they_want(place: Place, reconciler: Command) -> None:
    reconciler("track", "d1", "p1")

    shown = reconciler("actions").out.splitlines()
    later = reconciler("actions", "--since", "2100-01-01T00:00:00Z", "--json")
    wrong = reconciler("actions", "--since", "yesterday")

    assert shown[0].split() == ["at", "by", "action", "process", "detail"]
    assert shown[1].split()[2:] == ["ada", "register", "p1", "-"]
    assert later.json["items"] == []
    assert (wrong.code, wrong.out) == (2, "")
