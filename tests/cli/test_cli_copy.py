"""``copy``, as its user types it: from SQLite to a real PostgreSQL and back."""

from collections.abc import Iterator

import pytest

from tests.cli.conftest import Command, Place
from tests.postgres import Databases


@pytest.fixture
def postgres(databases: Databases) -> Iterator[str]:
    name = databases.create()
    yield databases.url(name)
    databases.drop(name)


def test_a_store_goes_to_postgresql_and_back(
    place: Place, reconciler: Command, postgres: str
) -> None:
    assert reconciler("track", "d1", "p1", "--reference", "order-1").code == 0
    shown = reconciler("show", "p1", "--json").json

    there = reconciler("copy", "--to", postgres, "--json")
    back = reconciler(
        "copy", "--from", postgres, "--to", f"sqlite:///{place.path}/back.db", "--json"
    )

    assert (there.code, back.code) == (0, 0)
    assert [item["rows"] for item in there.json["items"]] == [1, 0, 1, 0, 1, 0]
    assert there.json["items"][0] == back.json["items"][0]
    assert there.logged[-1]["event"] == "operator_action"
    assert there.logged[-1]["action"] == "copy"
    place.config.write_text(place.config.read_text().replace("ledger.db", "back.db"))
    assert reconciler("show", "p1", "--json").json == shown


def test_it_says_what_to_do_next(place: Place, reconciler: Command, postgres: str) -> None:
    copied = reconciler("copy", "--to", postgres)

    assert copied.code == 0
    assert copied.out.splitlines()[0].split() == ["table", "rows", "checksum"]
    assert "let store.url name the new store" in copied.said[-1]


def test_a_second_copy_is_refused_in_one_line(
    place: Place, reconciler: Command, postgres: str
) -> None:
    reconciler("track", "d1", "p1")
    reconciler("copy", "--to", postgres)

    again = reconciler("copy", "--to", postgres)

    assert again.code == 1
    assert again.out == ""
    assert again.said == [
        "reconciler: the store of --to is not empty: there are processes in it",
    ]


def test_a_password_is_never_repeated(place: Place, reconciler: Command) -> None:
    refused = reconciler("copy", "--to", "postgresql://user:canary-password@127.0.0.1:1/nothing")

    assert refused.code == 1
    assert refused.said == [
        "reconciler: cannot reach PostgreSQL at 127.0.0.1:1/nothing: connection refused"
    ]


def test_a_target_must_be_named(place: Place, reconciler: Command) -> None:
    assert reconciler("copy").code == 2
