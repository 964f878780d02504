"""The actions of people, on both databases."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from reconciler.store.actions import Action
from reconciler.store.open import Store
from reconciler.store.paging import BadCursorError, cursor_of
from tests.clock import NOW

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
