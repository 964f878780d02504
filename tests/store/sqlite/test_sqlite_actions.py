"""Actions of a store that had none: entries that concern no process move to them."""

import sqlite3
from contextlib import closing
from pathlib import Path

from reconciler.store.actions import Action
from reconciler.store.open import open_store, prepare
from reconciler.store.revision import MIGRATIONS
from reconciler.store.sqlite.migrate import migrate_sqlite
from tests.clock import NOW


async def test_what_was_recorded_in_the_timeline_becomes_actions(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    migrate_sqlite(path, MIGRATIONS, "0003")
    entries = [
        ("", NOW, "operator_action", '{"action":"backup","by":"ada"}'),
        ("p1", NOW, "operator_action", '{"action":"recheck","by":"ada"}'),
    ]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO timeline (process_id, at, event, fields) VALUES (?, ?, ?, ?)", entries
        )

    prepare(f"sqlite:///{path}", may_create=False, may_migrate=True)

    store = await open_store(f"sqlite:///{path}", is_daemon=False)
    try:
        found, _ = await store.actions.page(since=None, limit=9, cursor=None)
        assert found == [Action(NOW, "ada", "backup")]
        assert await store.actions.take_unlogged(9) == []
        assert await store.views.timeline("") == []
        assert len(await store.views.timeline("p1")) == 1
    finally:
        await store.database.close()
