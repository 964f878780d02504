"""``copy``: a whole store into another database."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli.app import ConfigOption, JsonOption, app, chosen
from reconciler.cli.errors import CONFIG, FAILED, CommandError, complain
from reconciler.cli.output import print_json, print_table
from reconciler.cli.privileges import as_owner, check_access
from reconciler.cli.progress import progress_bar
from reconciler.cli.session import caller_name, log_action, settings_of
from reconciler.config import ConfigError, resolve_secrets
from reconciler.store.errors import StoreError


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
    from reconciler.store.maintenance.copy import copy_store  # noqa: PLC0415 (loads SQLAlchemy)
    from reconciler.store.urls import store_file  # noqa: PLC0415

    origin = source or _configured(context, config)
    now = time.time_ns() // 1_000_000
    try:
        check_access(store_file(origin))
        with as_owner(store_file(origin) or store_file(to)), progress_bar() as progress:
            task = progress.add_task("copying and comparing", total=None)
            copied = copy_store(
                origin,
                to,
                by=caller_name(),
                now=now,
                on_progress=lambda done, steps: progress.update(task, completed=done, total=steps),
            )
    except StoreError as error:
        raise CommandError(FAILED, str(error)) from None
    log_action("copy", processes=copied["processes"].rows)
    told = [
        {"table": name, "rows": digest.rows, "checksum": digest.checksum}
        for name, digest in copied.items()
    ]
    if json:
        print_json({"items": told})
        return
    columns = ("table", "rows", "checksum")
    print_table(columns, ([item[name] for name in columns] for item in told))
    complain(
        "copied and compared; now let store.url name the new store, and start the daemon with the "
        "same store.spool"
    )


def _configured(context: typer.Context, config: Path | None) -> str:
    settings, _ = settings_of(chosen(context, config))
    try:
        return resolve_secrets(settings, os.environ, only_store=True).store_url
    except ConfigError as error:
        raise CommandError(CONFIG, *error.problems) from None
