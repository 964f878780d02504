"""A copy into another database is complete, or nothing is copied."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from reconciler.ledger import Registration, Rules, State
from reconciler.store.actions import Action
from reconciler.store.errors import StoreError
from reconciler.store.inbox import Receipt
from reconciler.store.instances import Instance
from reconciler.store.maintenance.copy import TABLES, copy_store
from reconciler.store.open import Store, daemon_lock, open_store, prepare
from reconciler.store.schema import deliveries, timeline
from tests.clock import NOW
from tests.postgres import Databases
from tests.store.conftest import call_back, claim, get, register

Registrations = Callable[[int], list[Registration]]
DAY = 86_400_000
TRIGGERS = {
    "sqlite": (
        """
        CREATE TRIGGER tamper AFTER INSERT ON callbacks BEGIN
            UPDATE callbacks SET status = 'tampered' WHERE receipt_id = NEW.receipt_id;
        END
        """,
    ),
    "postgresql": (
        """
        CREATE FUNCTION tamper() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.status = 'tampered'; RETURN NEW; END $$
        """,
        "CREATE TRIGGER tamper BEFORE INSERT ON callbacks FOR EACH ROW EXECUTE FUNCTION tamper()",
    ),
}


@pytest.fixture
def deliver(rules: Rules) -> Rules:
    """Rules with deliveries and without confirmation of callbacks."""
    return replace(rules, deliver=True, default=replace(rules.default, confirm_callbacks=False))


@pytest.fixture
def target(kind: str, tmp_path: Path, databases: Databases) -> Any:
    """The URL of an empty database of the other kind."""
    if kind == "postgresql":
        yield f"sqlite:///{tmp_path}/new/store.db"
        return
    name = databases.create()
    yield databases.url(name)
    databases.drop(name)


@pytest.fixture
async def filled(
    store: Store, deliver: Rules, registrations: Registrations, receipt: Callable[..., Receipt]
) -> Store:
    """A closed store with rows in every table."""
    await register(store, deliver, registrations(5))
    await call_back(store, deliver, receipt("p0", "accepted", dossier_id="d0"))
    await call_back(store, deliver, receipt("unknown \u00e9\u4e2d", "rejected"))
    await store.inbox.put_many([receipt("p1", dossier_id="another")])
    await store.work.turn_overdue(deliver, NOW + DAY, 3)
    await claim(store, deliver, NOW + DAY, 1)
    await store.key_values.put("assure_path", "proven")
    await store.actions.write([Action(NOW, "ada", "register", "p0")], is_logged=True)
    await store.database.close()
    return store


async def contents(url: str) -> dict[str, list[Any]]:
    opened = await open_store(url, is_daemon=False)
    try:
        async with opened.database.read() as connection:
            return {
                table.name: sorted(map(repr, await connection.execute(select(table))))
                for table in TABLES
            }
    finally:
        await opened.database.close()


def copied(source: str, target: str) -> dict[str, int]:
    seen: list[tuple[int, int]] = []
    digests = copy_store(
        source,
        target,
        by="somebody",
        now=NOW + DAY,
        on_progress=lambda done, steps: seen.append((done, steps)),
    )
    assert seen[-1][0] == seen[-1][1] == 2 * sum(digest.rows for digest in digests.values())
    return {name: digest.rows for name, digest in digests.items()}


async def test_everything_is_there_as_it_was(url: str, target: str, filled: Store) -> None:
    before = await contents(url)

    counts = copied(url, target)

    after = await contents(target)
    note = [row for row in after["actions"] if "copy" in row]
    after["actions"] = [row for row in after["actions"] if row not in note]
    assert len(note) == 1
    assert after == before == await contents(url)
    assert counts == {name: len(rows) for name, rows in before.items()}
    assert all(counts.values())


async def test_the_new_store_goes_on_where_the_old_one_was(
    url: str, target: str, filled: Store, deliver: Rules, receipt: Callable[..., Receipt]
) -> None:
    copied(url, target)

    store = await open_store(target, is_daemon=True)
    try:
        waiting = await store.inbox.unapplied(NOW + DAY, 10)
        await store.inbox.apply(waiting, deliver, NOW + DAY)
        await call_back(store, deliver, receipt("p2", "rejected", dossier_id="d2", at=NOW + DAY))
        settled = await get(store, "p2")
        async with store.database.read() as connection:
            ids = list(await connection.scalars(select(deliveries.c.id).order_by(deliveries.c.id)))
            last = (
                await connection.execute(select(timeline).order_by(timeline.c.id.desc()))
            ).first()
    finally:
        await store.database.close()

    assert settled.state is State.SETTLED
    assert len(ids) == len(set(ids)) >= 2
    assert last is not None and last.process_id == "p2"


async def test_a_store_with_processes_is_not_written_to(
    url: str, target: str, filled: Store, rules: Rules, registrations: Registrations
) -> None:
    prepare(target, may_create=True, may_migrate=True)
    other = await open_store(target, is_daemon=True)
    await register(other, rules, registrations(1))
    await other.database.close()
    before = await contents(target)

    with pytest.raises(StoreError, match="is not empty: there are processes in it"):
        copied(url, target)

    assert await contents(target) == before


@pytest.mark.parametrize("which", ["--from", "--to"])
async def test_a_store_that_a_daemon_uses_is_left_alone(
    url: str, target: str, filled: Store, which: str
) -> None:
    prepare(target, may_create=True, may_migrate=True)
    used = await open_store(url if which == "--from" else target, is_daemon=True)
    alive = Instance("one", "host", 1, "1", NOW, NOW + DAY - 1000, None, "closed", 0)
    await used.instances.beat(alive)
    await used.database.close()

    with pytest.raises(StoreError, match=f"a daemon uses the store of {which}"):
        copied(url, target)

    assert (await contents(target))["processes"] == []


async def test_a_daemon_that_starts_meanwhile_finds_the_file_locked(
    path: Path, databases: Databases
) -> None:
    held = daemon_lock(f"sqlite:///{path}")
    held.acquire()
    name = databases.create()

    with pytest.raises(StoreError, match="another daemon"):
        copied(f"sqlite:///{path}", databases.url(name))

    held.release()
    databases.drop(name)


async def test_a_copy_that_differs_is_not_kept(url: str, target: str, filled: Store) -> None:
    """A database with a trigger of its owner that changes rows."""
    prepare(target, may_create=True, may_migrate=True)
    changing = await open_store(target, is_daemon=True)
    async with changing.database.write() as connection:
        for statement in TRIGGERS[changing.database.dialect]:
            await connection.exec_driver_sql(statement)
    await changing.database.close()

    with pytest.raises(StoreError, match="the copy of callbacks differs from its original"):
        copied(url, target)

    assert (await contents(target))["processes"] == []


async def test_a_store_is_not_copied_onto_itself(url: str, filled: Store) -> None:
    with pytest.raises(StoreError, match="are the same store"):
        copied(url, url)


async def test_there_must_be_a_store_to_copy(tmp_path: Path, target: str) -> None:
    with pytest.raises(StoreError, match="there is no store at"):
        copied(f"sqlite:///{tmp_path}/nothing.db", target)
