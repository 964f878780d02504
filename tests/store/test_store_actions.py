"""The actions of people, on both databases."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from reconciler.ledger import Registration, Rules, Verb
from reconciler.store.actions import Action, Note
from reconciler.store.errors import StoreError
from reconciler.store.open import Store
from reconciler.store.paging import BadCursorError, cursor_of
from tests.clock import NOW
from tests.store.conftest import register

Look = Callable[..., list[Any]]
UPPER = "3065980B-F26B-4EC2-8987-7833B7781DAE"

SEVERAL = [
    Action(NOW, "ada", "register", "p1"),
    Action(NOW, "api", "recheck", UPPER, {"verb": "fetch"}),
    Action(NOW + 1, "ada", "import", fields={"processes": 12}),
]


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
async def test_all_actions_are_listed_once_the_newest_first(store: Store, limit: int) -> None:
    await store.actions.write(SEVERAL, is_logged=False)

    found: list[Action] = []
    cursor = None
    while True:
        page, cursor = await store.actions.page(since=None, limit=limit, cursor=cursor)
        found += page
        if cursor is None:
            break

    assert found == SEVERAL[::-1]
    later, _ = await store.actions.page(since=NOW + 1, limit=limit, cursor=None)
    assert later == SEVERAL[2:]


@pytest.mark.parametrize("cursor", [cursor_of(1, "x"), cursor_of(1, ""), cursor_of(1, "9" * 30)])
async def test_a_cursor_of_another_list_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(BadCursorError):
        await store.actions.page(since=None, limit=1, cursor=cursor)


async def test_each_action_is_taken_for_the_log_once_by_whichever_daemon(store: Store) -> None:
    many = [Action(NOW + number, "ada", "recheck", f"p{number}") for number in range(20)]
    await store.actions.write(many, is_logged=False)
    await store.actions.write([Action(NOW, "api", "forget")], is_logged=True)

    taken = await asyncio.gather(*(store.actions.take_unlogged(5) for _ in range(6)))

    rest = await store.actions.take_unlogged(100)
    all_taken = [action for batch in [*taken, rest] for action in batch]
    assert sorted(all_taken, key=lambda action: action.at) == many
    assert await store.actions.take_unlogged(100) == []


async def test_a_forgotten_process_is_taken_out_in_whatever_spelling(
    store: Store, look: Look
) -> None:
    await store.actions.write(SEVERAL, is_logged=False)

    assert await store.registry.forget(UPPER.lower(), "bob", NOW + 2)

    assert look("SELECT process_id, spelling FROM actions ORDER BY id") == [
        ("p1", None),
        (None, None),
        (None, None),
        (None, None),
    ]
    [newest, *_], _ = await store.actions.page(since=None, limit=9, cursor=None)
    assert newest == Action(NOW + 2, "bob", "forget")


def note(action: str, counting: str | None = None, before: int = 0) -> Note:
    return Note(Action(NOW, "ada", action), is_logged=False, counting=counting, before=before)


async def test_a_change_and_the_action_that_tells_of_it_are_one_transaction(
    store: Store, rules: Rules, look: Look
) -> None:
    """The table takes no action: then nothing is changed either."""
    await register(store, rules, [Registration("p1", "d")])
    before = look("SELECT next_check_at FROM processes"), look("SELECT count(*) FROM timeline")
    look("ALTER TABLE actions RENAME TO aside")

    changes: list[Coroutine[Any, Any, object]] = [
        store.registry.register(
            [Registration("p2", "d")], rules, NOW, whole=True, note=note("register")
        ),
        store.registry.register(
            [Registration("p3", "d")], rules, NOW, whole=True, note=note("import", "processes")
        ),
        store.work.recheck(["p1"], None, rules, NOW, note("recheck")),
        store.registry.forget("p1", "ada", NOW),
    ]
    for change in changes:
        with pytest.raises(StoreError):
            await change

    look("ALTER TABLE aside RENAME TO actions")
    after = look("SELECT next_check_at FROM processes"), look("SELECT count(*) FROM timeline")
    assert after == before


async def test_an_action_of_many_transactions_is_one_row_that_counts_what_is_done(
    store: Store, rules: Rules
) -> None:
    for number in range(3):
        told = note("import", "processes", before=2 * number)
        batch = [Registration(f"p{number}", "d"), Registration(f"q{number}", "d")]
        await store.registry.register(batch, rules, NOW, whole=False, note=told)
        assert (await store.actions.page(since=None, limit=9, cursor=None))[0] == [
            Action(NOW, "ada", "import", fields={"processes": 2 * number + 2})
        ]
        if number:  # it is logged again when there is more
            assert len(await store.actions.take_unlogged(9)) == 1
    known = [Registration("p0", "d")]
    told = note("import", "processes", before=6)
    await store.registry.register(known, rules, NOW, whole=False, note=told)
    [action] = await store.actions.take_unlogged(9)
    assert action.fields == {"processes": 6}


async def test_of_a_recheck_each_process_that_is_known_has_an_action(
    store: Store, rules: Rules
) -> None:
    await register(store, rules, [Registration("p1", "d"), Registration("p2", "d")])
    await store.work.recheck(["p1", "unknown", "p2"], Verb.FETCH, rules, NOW, note("recheck"))
    found, _ = await store.actions.page(since=None, limit=9, cursor=None)
    assert [(each.name, each.process_id) for each in found] == [
        ("recheck", "p2"),
        ("recheck", "p1"),
    ]
