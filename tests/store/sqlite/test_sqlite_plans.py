"""Frequent statements use an index and sort nothing, as with a million rows they must."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from reconciler.ledger import Fetched, Lane, Recheck, Registration, Rules, State, Verb
from reconciler.store.actions import Action
from reconciler.store.inbox import Receipt
from reconciler.store.maintenance.retention import RetentionPeriods, stages
from reconciler.store.open import Store
from reconciler.store.sqlite.reclaim import WalCleaner
from tests.clock import NOW


@pytest.fixture
def kind() -> str:
    """The plans are SQLite's."""
    return "sqlite"


Explain = Callable[[], dict[str, list[str]]]


@pytest.fixture
def explain(path: Path) -> Iterator[Explain]:
    """Return the plan of each statement since the last time."""
    sent: dict[str, Any] = {}

    def remember(_connection: Any, _cursor: Any, sql: str, values: Any, *_rest: Any) -> None:
        if sql.lstrip().split()[0] in {"SELECT", "UPDATE", "DELETE"}:
            sent[sql] = values[0] if isinstance(values, list) else values

    def explain() -> dict[str, list[str]]:
        with closing(sqlite3.connect(path)) as connection:
            plans = {
                sql: [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
                for sql, values in sent.items()
            }
        sent.clear()
        return plans

    event.listen(Engine, "before_cursor_execute", remember)
    yield explain
    event.remove(Engine, "before_cursor_execute", remember)


def is_bad(step: str) -> bool:
    """Tell whether a step scans a table or an index, or sorts more than rows of the same key."""
    if step.startswith("SCAN"):
        return step != "SCAN chosen"  # the rows that BulkSelect packs
    return step.startswith("USE TEMP B-TREE") and "RIGHT PART OF ORDER BY" not in step


def bad_steps(plans: dict[str, list[str]]) -> list[tuple[str, str]]:
    assert plans, "nothing was sent"
    return [(step, sql) for sql, plan in plans.items() for step in plan if is_bad(step)]


@pytest.fixture
async def filled(
    store: Store, rules: Rules, receipt: Callable[..., Receipt], look: Callable[..., object]
) -> Store:
    """A store with rows for every statement, and statistics."""
    batch = [Registration(f"p{number}", f"d{number}") for number in range(30)]
    await store.registry.register(batch, rules, NOW, whole=True)
    await store.registry.register(
        [Registration(f"q{number}", f"d{number}") for number in range(300)],
        rules,
        NOW + 1000,
        whole=True,
    )
    callbacks = [receipt(f"p{number}", dossier_id=f"d{number}") for number in range(10)]
    await store.inbox.put_many(callbacks)
    await store.inbox.apply(callbacks, rules, NOW + 1)
    return store


async def claims_and_turns(store: Store, rules: Rules) -> None:
    late = NOW + rules.default.callback_timeout
    await store.work.record([("p11", Recheck(Verb.FETCH, "person"))], rules, NOW + 1)
    for _ in range(4):
        await store.work.turn_overdue(rules, late, 10)
    for lane in (Lane.CONFIRM, Lane.ASKED, Lane.OVERDUE, Lane.CATCH_UP):
        await store.work.has_due(lane, late)
        await store.work.claim(
            (lane,), 3, owner="one", rules=rules, now=late, length=1000, skip="p1"
        )
    await store.work.owe_catch_up(NOW + 2000, 10)


async def pages(store: Store, _rules: Rules) -> None:
    done = [Action(NOW, "ada", "recheck", f"p{number}") for number in range(3)]
    await store.actions.write(done, is_logged=False)
    for state in (None, State.WAITING, State.REPORTED):
        _, cursor = await store.views.page(state=state, limit=3, cursor=None)
        await store.views.page(state=state, limit=3, cursor=cursor)
    _, cursor = await store.views.page(state=State.OVERDUE, limit=3, cursor=None, oldest=True)
    await store.views.page(state=State.OVERDUE, limit=3, cursor=cursor, oldest=True)
    _, cursor = await store.views.settled(since=NOW, limit=1, cursor=None)
    await store.views.settled(since=NOW, limit=1, cursor=cursor)
    _, cursor = await store.views.ended(since=NOW, limit=1, cursor=None)
    await store.views.ended(since=NOW, limit=1, cursor=cursor)
    await store.views.process("p1")
    await store.views.timeline("p1")
    _, cursor = await store.actions.page(since=NOW, limit=1, cursor=None)
    await store.actions.page(since=None, limit=1, cursor=cursor)
    await store.actions.take_unlogged(3)


async def registrations(store: Store, rules: Rules) -> None:
    batch = [Registration(f"p{number}", f"d{number}", provider="new") for number in range(20)]
    await store.registry.register(batch, rules, NOW + 5, whole=True)
    await store.registry.forget("p1", "operator", NOW)


async def the_inbox(store: Store, rules: Rules) -> None:
    callbacks = [
        Receipt(f"{i}", NOW + i, f"q{i}", f"d{i}", "accepted", (), b"\0" * 32) for i in range(9)
    ]
    await store.inbox.put_many(callbacks)
    await store.inbox.unapplied(NOW + 9, 3)
    await store.inbox.unapplied(NOW + 9, 3, after=callbacks[2])
    await store.inbox.apply(callbacks, rules, NOW + 10)


async def housekeeping(store: Store, rules: Rules) -> None:
    for process_id in [f"p{number}" for number in range(10)]:  # the reported ones
        held = await store.work.claim(
            (Lane.CONFIRM,), 1, owner="one", rules=rules, now=NOW + 2, length=1000
        )
        results = [(p.process_id, Fetched(p.attempt, "accepted")) for p in held]
        await store.work.record(results, rules, NOW + 3)
        assert process_id
    await store.actions.write([Action(NOW, "operator", "backup")], is_logged=False)
    # Ended processes are past their retention; most of inbox and timeline is not.
    found = 0
    for stage in stages(store.database, RetentionPeriods(settled=0, callbacks=1), NOW + 4):
        while (batch := await stage.find(9)) is not None:
            if batch:
                async with store.database.write() as connection:
                    found += (await stage.remove(connection, batch, 9)).total()
    assert found > 20
    await WalCleaner(store.database).clean()


@pytest.mark.parametrize("with_statistics", [False, True], ids=["new", "analyzed"])
@pytest.mark.parametrize("work", [claims_and_turns, pages, the_inbox, housekeeping])
async def test_daily_work_scans_no_table_and_sorts_nothing(
    filled: Store,
    rules: Rules,
    explain: Explain,
    look: Callable[..., object],
    work: Callable[[Store, Rules], Any],
    *,
    with_statistics: bool,
) -> None:
    if with_statistics:
        look("ANALYZE")
    await work(filled, rules)
    in_order = {  # up to the limit
        "SCAN processes USING INDEX ix_processes_listing",
        "SCAN actions USING INDEX ix_actions_at",
        "SCAN actions USING INDEX ix_actions_unlogged",
    }
    assert [found for found in bad_steps(explain()) if found[0] not in in_order] == []


@pytest.mark.parametrize("with_statistics", [False, True], ids=["new", "analyzed"])
async def test_what_is_due_is_found_by_its_due_time_alone(
    filled: Store,
    rules: Rules,
    explain: Explain,
    look: Callable[..., object],
    *,
    with_statistics: bool,
) -> None:
    if with_statistics:
        look("ANALYZE")
    await claims_and_turns(filled, rules)
    steps = [step for plan in explain().values() for step in plan if "INDEX" in step]
    used = {step.partition("INDEX ")[2].partition(" ")[0] for step in steps}
    assert used == {"ix_processes_due", "sqlite_autoindex_processes_1"}


async def test_registering_and_forgetting_scan_no_table(
    filled: Store, rules: Rules, explain: Explain
) -> None:
    await registrations(filled, rules)
    plans = explain()
    held_back = [plan for sql, plan in plans.items() if "FROM callbacks" in sql and "IN" in sql]
    assert held_back, "the few callbacks that were held back may be sorted"
    assert [found for found in bad_steps(plans) if "FROM callbacks" not in found[1]] == []
    assert not any(step.startswith("SCAN") for plan in held_back for step in plan)


async def test_the_oldest_of_a_state_is_found_at_the_end_of_an_index(
    filled: Store, explain: Explain
) -> None:
    await filled.views.counts()
    plans = explain()
    oldest = [plan for sql, plan in plans.items() if "min(" in sql]
    assert oldest == [
        ["SEARCH processes USING COVERING INDEX ix_processes_late (state=?)"],
        ["SEARCH deliveries USING INDEX ix_deliveries_state (state=?)"],  # what is pending only
    ]
    scanned = [step for step, _ in bad_steps(plans)]
    assert scanned == ["SCAN processes USING COVERING INDEX ix_processes_state"]


async def test_a_jump_of_the_clock_looks_at_what_is_open_only(
    filled: Store, rules: Rules, explain: Explain
) -> None:
    await filled.work.ahead_of(NOW)
    await filled.outbox.ahead_of(NOW)
    of_processes, of_deliveries = explain().values()
    assert of_processes == ["SCAN processes USING INDEX ix_processes_due"]
    (step,) = of_deliveries  # a scan of that index or a search in it, as SQLite chooses
    assert "deliveries USING INDEX ix_deliveries_due" in step
