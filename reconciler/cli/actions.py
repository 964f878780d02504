"""``actions``: who did what."""

from typing import Annotated

import typer

from reconciler.cli.app import ConfigOption, JsonOption, app, chosen
from reconciler.cli.errors import USAGE, CommandError, say
from reconciler.cli.output import moment, print_json, print_table
from reconciler.cli.session import opened_store
from reconciler.operations.json_shapes import actions_json
from reconciler.operations.registration import BadRegistrationError, parse_time


@app.command()
def actions(
    context: typer.Context,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="ISO", help="With a time zone: 2026-01-31T12:00:00Z."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 50,
    cursor: Annotated[
        str | None, typer.Option(help="nextCursor of the page before (from --json).")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List what people did by commands and by the API, the newest first. Times are UTC."""
    try:
        at = parse_time("--since", since)
    except BadRegistrationError as error:
        raise CommandError(USAGE, str(error)) from None
    with opened_store(chosen(context, config), read_only=True) as session:
        found = session.store.actions.page(since=at, limit=limit, cursor=cursor)
        page = actions_json(*session.run(found))
    if json:
        print_json(page)
        return
    rows = (
        (moment(each["at"]), each["by"], each["action"], each["processId"], each["detail"])
        for each in page["items"]
    )
    print_table(("at", "by", "action", "process", "detail"), rows)
    if page["nextCursor"]:
        say(f"there are more than these {limit}; --limit shows them")
