"""``deliveries``, ``redeliver`` and ``export``: results on their way to the application."""

from typing import Annotated

import orjson
import typer

from reconciler import operations
from reconciler.cli.app import ConfigOption, JsonOption, app, chosen
from reconciler.cli.errors import NOT_FOUND, USAGE, CommandError, say
from reconciler.cli.output import print_json, print_table, write_out
from reconciler.cli.session import opened_store
from reconciler.ledger import process_json
from reconciler.operations.json_shapes import deliveries_json
from reconciler.operations.registration import BadRegistrationError, parse_time
from reconciler.store.delivery_row import DeliveryState

EXPORTED = 1_000
"""Processes read in one transaction."""

SINCE = typer.Option("--since", metavar="ISO", help="With a time zone: 2026-01-31T12:00:00Z.")


@app.command()
def deliveries(
    context: typer.Context,
    dead: Annotated[bool, typer.Option("--dead", help="Only those given up.")] = False,
    state: Annotated[DeliveryState | None, typer.Option(help="Only this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 50,
    cursor: Annotated[
        str | None, typer.Option(help="nextCursor of the page before (from --json).")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List the outbox, the newest first."""
    if dead and state not in (None, DeliveryState.DEAD):
        raise CommandError(USAGE, "--dead and --state exclude each other")
    wanted = DeliveryState.DEAD if dead else state
    with opened_store(chosen(context, config), read_only=True) as session:
        found = session.run(session.store.outbox.page(state=wanted, limit=limit, cursor=cursor))
    page = deliveries_json(*found)
    if json:
        print_json(page)
        return
    columns = ("id", "processId", "type", "state", "attempts", "nextAttemptAt", "lastError")
    print_table(columns, ([dict(item)[name] for name in columns] for item in page["items"]))


@app.command()
def redeliver(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Every one that was given up.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="ISO",
            help="The results of all processes that ended since then, delivered before or not.",
        ),
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Have results delivered again, under the same webhook-id. The running daemon sends them."""
    if sum((bool(ids), dead, since is not None)) != 1:
        raise CommandError(USAGE, "name deliveries, or give --dead, or give --since")
    at = _time(since)
    with opened_store(chosen(context, config)) as session:
        if session.settings.delivery is None:
            say("warning: delivery.url is not set, so nothing is sent until it is")
        if at is not None:
            done = session.run(operations.redeliver_since(session.actor, at))
        elif dead:
            done = session.run(operations.redeliver_dead(session.actor))
        else:
            done = session.run(operations.redeliver(session.actor, ids or ()))
    if json:
        print_json({"due": done.due, "unknown": done.unknown})
    else:
        say(f"{done.due} due now; the running daemon sends them within its limits")
    if done.unknown:
        raise CommandError(NOT_FOUND, *(f"{key} is not in the outbox" for key in done.unknown))


@app.command()
def export(
    context: typer.Context,
    since: Annotated[str | None, SINCE] = None,
    ended_since: Annotated[
        str | None,
        typer.Option(
            "--ended-since", metavar="ISO", help="All that ended since then, gone and expired too."
        ),
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Print settled processes as NDJSON, in the order in which they were settled or ended.

    It is JSON in any case; --json is taken because every other command takes it.
    To go on from there later, overlap by a minute: a process is settled in a transaction that may
    end a moment after the time it bears.
    """
    del json
    if since is not None and ended_since is not None:
        raise CommandError(USAGE, "--since and --ended-since exclude each other")
    at = _time(since) or _time(ended_since, "--ended-since") or 0
    cursor = None
    with opened_store(chosen(context, config), read_only=True) as session:
        views = session.store.views
        read = views.settled if ended_since is None else views.ended
        while True:
            page, cursor = session.run(read(since=at, limit=EXPORTED, cursor=cursor))
            lines = (orjson.dumps(process_json(p), option=orjson.OPT_APPEND_NEWLINE) for p in page)
            if not write_out(b"".join(lines)) or cursor is None:
                return


def _time(text: str | None, option: str = "--since") -> int | None:
    try:
        return parse_time(option, text)
    except BadRegistrationError as error:
        raise CommandError(USAGE, str(error)) from None
