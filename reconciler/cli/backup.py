"""``backup``: a consistent copy of the live store."""

from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli.app import ConfigOption, JsonOption, app, chosen
from reconciler.cli.errors import FAILED, CommandError, say
from reconciler.cli.output import print_json, progress_bar
from reconciler.cli.privileges import as_user
from reconciler.cli.session import opened_store
from reconciler.store.sqlite.backup import back_up
from reconciler.store.sqlite.database import SqliteDatabase

TABLES = ("processes", "callbacks", "timeline", "deliveries")


@app.command()
def backup(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Write a consistent copy of the store, while the daemon goes on.

    The copy is checked, is on disk when this ends, and appears under its name only when it is
    whole. It belongs to the user who runs the command.
    """
    target = path.absolute()

    with opened_store(chosen(context, config)) as session:
        database = session.store.database
        if not isinstance(database, SqliteDatabase):
            raise CommandError(FAILED, "this store is PostgreSQL: use pg_dump, which does the same")
        with as_user(), progress_bar() as progress:
            task = progress.add_task(target.name, total=None)

            def on_step(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            done = back_up(database.path, target, force=force, on_step=on_step)
        session.run(session.actor.record_action("backup"))
    if json:
        rows = {table: done.rows[table] for table in TABLES}
        print_json({"path": str(done.path), "bytes": done.size, "revision": done.revision, **rows})
    else:
        say(f"{done.path}: {done.rows['processes']} processes, {done.size} bytes, checked")
