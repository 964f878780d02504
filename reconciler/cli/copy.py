"""``copy``: a whole store into another database."""

from typing import Annotated

import typer

from reconciler.cli.app import ConfigOption, JsonOption, app, chosen
from reconciler.cli.errors import FAILED, CommandError, say
from reconciler.cli.output import print_json, print_table, progress_bar
from reconciler.cli.privileges import as_owner, check_access
from reconciler.cli.session import log_action, settings_of, store_secrets, user_name
from reconciler.runtime.clock import Clock
from reconciler.store.errors import StoreError
from reconciler.store.maintenance.copy import copy_store
from reconciler.store.urls import store_file


@app.command("copy")
def copy(
    context: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="URL", help="An empty store, or none yet.")],
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", help="Default: store.url of the configuration."),
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Move a stopped store into another database, such as SQLite to PostgreSQL.

    All of it in one transaction, compared by counts and checksums before it is kept. Leave the
    password out of a URL and in PGPASSWORD or ~/.pgpass: others can see a command line.
    """
    origin = source or store_secrets(settings_of(chosen(context, config))[0]).store_url
    now = Clock().now()
    try:
        check_access(store_file(origin))
        with as_owner(store_file(origin) or store_file(to)), progress_bar() as progress:
            task = progress.add_task("copying and comparing", total=None)
            copied = copy_store(
                origin,
                to,
                by=user_name(),
                now=now,
                on_progress=lambda done, steps: progress.update(task, completed=done, total=steps),
            )
    except StoreError as error:
        raise CommandError(FAILED, str(error)) from None
    log_action("copy", processes=copied["processes"].rows)
    items = [
        {"table": name, "rows": digest.rows, "checksum": digest.checksum}
        for name, digest in copied.items()
    ]
    if json:
        print_json({"items": items})
        return
    columns = ("table", "rows", "checksum")
    print_table(columns, ([item[name] for name in columns] for item in items))
    say(
        "copied and compared; now let store.url name the new store, and start the daemon with the "
        "same store.spool"
    )
